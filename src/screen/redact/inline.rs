//! Values in the same text as their label: after a sign, after "is" in many
//! languages, or in the wording of chat messages.

use std::ops::Range;
use std::sync::LazyLock;

use regex::Regex;

use super::labels::{self, SecretLabel};
use super::value::{self, Tie, is_stop, is_strong, is_tail, is_value};
use super::vocabulary::LabelKind;

/// Maximum number of characters between a label and its sign.
const REACH: usize = 40;
/// Maximum number of characters between a user/password pair and the words that
/// mark it as one.
const NEAR: usize = 24;
/// Code that precedes its label: 4 to 8 digits, grouped or not, or `G-123456`.
const BEFORE: &str = r"\b(?P<value>[0-9]{3}[ -]?[0-9]{3,4}|[0-9]{4,8}|[A-Z]-[0-9]{6})\b";

/// "is" and its equivalents, at the start and at the end of a text.
const COPULAS: &str = "is now|is still|is just|is currently|is|was|are|will be|changed to|set to|equals|ist jetzt|ist|lautet|war|sind|es ahora|es|son|est maintenant|est|sont|é agora|é|são|è|sono|jest|to|je|byl|är|er|on|adalah|ialah|yaitu|là|ni|ne|este|van|:|such as|такой|такая|это|теперь|は|是|为|為|이|가|은|는|です|है|হল|هي|هو|ہے|คือ|as";

static COPULA: LazyLock<Regex> = LazyLock::new(|| {
    // These languages have no blanks between words, hence no word boundaries.
    let joined = "は|是|为|為|이|가|은|는";
    pattern(&format!(
        r"^\s*(?:(?:{COPULAS})(?:\s*[:=]|\s|$|\b)|{joined})\s*"
    ))
});
/// The same after a few words that name the owner, as in "password for root
/// is".
static COPULA_LATER: LazyLock<Regex> = LazyLock::new(|| {
    pattern(&format!(
        r"^(?:\s+[\p{{L}}-]{{1,14}}){{1,3}}\s+(?:{COPULAS})\s+"
    ))
});
static COPULA_LAST: LazyLock<Regex> =
    LazyLock::new(|| pattern(&format!(r"(?:^|\s|\b)(?:{COPULAS})\s*$")));
static SIGN: LazyLock<Regex> =
    LazyLock::new(|| pattern(r"^\s*(?:\([^)]{0,24}\)\s*)?(?:[:=：]{1,2}>?|->|=>|→|➜|»|>|—|–)\s*"));
/// Number of the item that a label names, as in `PIN 1`.
static NUMBER: LazyLock<Regex> = LazyLock::new(|| pattern(r"^\s*#?[1-9]\s+"));
/// Code that precedes its description: `482913 is your verification code`.
static CODE_FIRST: LazyLock<Regex> = LazyLock::new(|| {
    let says = r"(?:is|as|ist|est|es|é|è|jest|is uw|là|adalah|は|是|для|—|-|–|:)";
    pattern(&format!(
        r"{BEFORE}\s+{says}\b|{BEFORE_AGAIN}\s*(?:は|是|为|—|–)"
    ))
});
const BEFORE_AGAIN: &str = r"\b(?P<other>[0-9]{4,8})";
/// User and password in one text, and the words that mark such a pair.
static PAIR: LazyLock<Regex> = LazyLock::new(|| {
    pattern(
        r"(?:^|[\s(\[»>:,;])(?P<user>[\p{L}][\w.@+-]{1,40})(?P<gap>\s*/\s*|:)(?P<value>[^\s/:][^\s/]{3,63})",
    )
});
static ACCESS: LazyLock<Regex> = LazyLock::new(|| {
    pattern(
        r"\b(?:creds?|credentials?|log[ -]?ins?|log(?:ged)? in|sign in|user(?:name)?|account|access|zugang|zugangsdaten|anmeldung|benutzer|identifiants?|connexion|acceso|usuario|acesso|usu[aá]rio|accesso|utente|inlog|dane logowania|логин|доступ|учетка|账号|账户|帳號|アカウント|ログイン|계정)\b",
    )
});
/// Common user names of systems and services.
const USERS: [&str; 16] = [
    "admin",
    "administrator",
    "root",
    "user",
    "guest",
    "test",
    "demo",
    "operator",
    "ops",
    "postgres",
    "sa",
    "ubuntu",
    "oracle",
    "service",
    "backup",
    "support",
];

fn pattern(text: &str) -> Regex {
    Regex::new(&format!("(?i){text}")).expect("the pattern is valid")
}

/// Text without its trailing copula ("is").
pub(super) fn without_copula(text: &str) -> &str {
    let trimmed = text.trim_end();
    match COPULA_LAST.find(trimmed) {
        Some(last) if last.start() > 0 => trimmed[..last.start()].trim_end(),
        _ => text,
    }
}

/// Values of labels within a text, each with its label's kind.
pub(super) fn values(text: &str) -> Vec<(Range<usize>, LabelKind)> {
    let mut found = Vec::new();
    for label in labels::find(text) {
        if let Some(range) = behind(text, &label) {
            found.push((range, label.kind));
        }
        if label.kind == LabelKind::Code {
            found.extend(before(text, &label).map(|range| (range, label.kind)));
        }
    }
    found.extend(pair(text).map(|range| (range, LabelKind::Password)));
    found
}

/// Value after a label.
fn behind(text: &str, label: &SecretLabel) -> Option<Range<usize>> {
    let rest = &text[label.range.end..];
    let quotes = |c: char| "\"'`”’)]*".contains(c);
    let begin = label.range.end + rest.len() - rest.trim_start_matches(quotes).len();
    if let Some((at, tie)) = signed(text, begin) {
        return value_at(text, at, label, tie);
    }
    let rest = &text[begin..];
    if let Some(is) = COPULA.find(rest).filter(|is| !is.is_empty()) {
        let at = begin + is.end();
        return value_at(text, at, label, Tie::Loose).or_else(|| plain_word(text, at, label));
    }
    if let Some(is) = COPULA_LATER.find(rest)
        && let Some(value) = value_at(text, begin + is.end(), label, Tie::Loose)
    {
        return Some(value);
    }
    // `Password hunter2`: the value is the only or the first word of the cell.
    let cell = text[..label.range.start].rfind("  ").map_or(0, |at| at + 2);
    let before = &text[cell.min(label.range.start)..label.range.start];
    let first = before.trim().is_empty() && !labels::is_verdict(&text[label.range.clone()]);
    let owner = labels::is_owner(before);
    let blank = rest.starts_with(char::is_whitespace);
    if labels::is_verdict(&text[label.range.clone()]) {
        return None;
    }
    let open = rest.trim_start().chars().next().and_then(closing).is_some();
    let ends = value_ends(rest);
    if !(blank && (first || label.kind == LabelKind::Code || owner || open || ends)) {
        return None;
    }
    // `PIN 1 2917`
    let number = NUMBER.find(rest).map_or(0, |number| number.end());
    let value = value_at(text, begin + number, label, Tie::Loose)?;
    let rest = text[value.end..].split("  ").next().unwrap_or_default();
    let last = rest.split_whitespace().all(is_stop);
    (first || label.kind == LabelKind::Code || last).then_some(value)
}

/// Start of the value after a sign, which may follow words that name the owner.
fn signed(text: &str, begin: usize) -> Option<(usize, Tie)> {
    let rest = &text[begin..];
    if let Some(sign) = SIGN.find(rest) {
        let arrow = sign.as_str().trim();
        // Menu arrow or dash: weak evidence.
        let weak = matches!(arrow, ">" | "—" | "–" | "»");
        return (!weak || is_strong(first_word(&rest[sign.end()..])))
            .then(|| (begin + sign.end(), Tie::Explicit));
    }
    let at = rest.find([':', '=', '：'])?;
    let owner = &rest[..at];
    let short = owner.chars().count() <= REACH && !owner.contains(['"', ',', ';', '?', '|']);
    let tie = if labels::only_qualifies(owner) {
        Tie::Explicit
    } else {
        Tie::Loose
    };
    let qualified = rest.starts_with([' ', '_', '-', '['])
        && (tie == Tie::Explicit || labels::names_owner(owner));
    let sign = rest[at..].chars().next().map_or(1, char::len_utf8);
    let end = begin + at + sign;
    (short && qualified && !text[end..].starts_with("//")).then_some((end, tie))
}

/// True if exactly one word is left in the cell.
fn value_ends(rest: &str) -> bool {
    let cell = rest.trim_start().split("  ").next().unwrap_or_default();
    !cell.is_empty() && !cell.trim_end().contains(' ')
}

fn first_word(text: &str) -> &str {
    text.split_whitespace().next().unwrap_or_default()
}

/// Value that starts there, if it has the shape its label announces.
fn value_at(text: &str, at: usize, label: &SecretLabel, tie: Tie) -> Option<Range<usize>> {
    let rest = &text[at..];
    let blanks = rest.len() - rest.trim_start().len();
    let opening = rest.trim_start().chars().next()?;
    let start = at + blanks;
    if let Some(close) = closing(opening) {
        let inner = start + opening.len_utf8();
        let end = text[inner..]
            .find(close)
            .map_or(text.len(), |end| inner + end);
        let value = &text[inner..end];
        let kind = label.kind;
        let single = !value.contains(' ') && is_value(kind, value, Tie::Explicit);
        let words = kind == LabelKind::Password && !value.split(' ').any(is_stop);
        let quoted = single || words || value::in_cell(kind, value, tie).is_some();
        return quoted.then(|| value::trimmed(text, inner..end))?;
    }
    match label.kind {
        LabelKind::Phrase => {
            let range = value::trimmed(text, start..text.len())?;
            return (value::is_phrase(&text[range.clone()])).then_some(range);
        }
        LabelKind::Password if text[label.range.clone()].to_lowercase().ends_with("phrase") => {
            let cell = text[start..].find("  ").map_or(text.len(), |at| start + at);
            let range = value::trimmed(text, start..cell)?;
            if value::is_phrase(&text[range.clone()]) {
                return Some(range);
            }
        }
        LabelKind::Code | LabelKind::Pin | LabelKind::Card => {
            if let Some(end) = digits_end(label.kind, &text[start..]) {
                return Some(start..start + end);
            }
        }
        _ => {}
    }
    let end = word_end(text, start);
    let word = &text[start..end];
    let assigned = tie == Tie::Explicit && text[..at].trim_end().ends_with('=');
    // An assigned argument may have any shape.
    let kind = match label.kind {
        LabelKind::Key if assigned => LabelKind::Password,
        kind => kind,
    };
    if label.plural && word.chars().all(|c| c.is_ascii_digit()) {
        return None;
    }
    let prose = value::is_prose(text, &(start..end));
    (!prose && is_value(kind, word, tie)).then(|| start..with_tail(text, end))
}

fn closing(opening: char) -> Option<char> {
    Some(match opening {
        '"' => '"',
        '\'' => '\'',
        '`' => '`',
        '“' | '„' => '”',
        '‘' => '’',
        '«' => '»',
        '「' => '」',
        _ => return None,
    })
}

/// End of a run of digits, which may be grouped.
fn digits_end(kind: LabelKind, text: &str) -> Option<usize> {
    static GROUPED: LazyLock<Regex> = LazyLock::new(|| {
        pattern(r"^(?:[A-Z]-)?[0-9]{2,}(?:[ -][0-9]{2,4}){0,4}(?:$|[^0-9A-Za-z:%/.,]|[.,](?:\s|$))")
    });
    let hit = GROUPED.find(text)?;
    let whole = hit.as_str().trim_end_matches(|c: char| !c.is_ascii_digit());
    let digits = whole.chars().filter(char::is_ascii_digit).count();
    let fits = match kind {
        LabelKind::Pin => (3..=8).contains(&digits),
        LabelKind::Card => (12..=19).contains(&digits),
        _ => (4..=10).contains(&digits),
    };
    fits.then_some(whole.len())
}

/// End of a value: a blank, a closing quote or a separator.
fn word_end(text: &str, start: usize) -> usize {
    let stop = |c: char| c.is_whitespace() || "\"'`,;”’«»|".contains(c);
    let end = text[start..]
        .find(stop)
        .map_or(text.len(), |end| start + end);
    let word = text[start..end].trim_end_matches(['.', ')', ']', '}', ':', '…', '。', '、']);
    // Final punctuation such as `!` belongs to the value; closing brackets do
    // not.
    start + word.len()
}

/// End of a value including pieces that OCR split off with a blank.
fn with_tail(text: &str, mut end: usize) -> usize {
    while text[end..].starts_with(' ') {
        let next = end + 1;
        let stop = word_end(text, next);
        if stop == next || stop - next < 2 || !is_tail(&text[next..stop]) {
            break;
        }
        end = stop;
    }
    end
}

/// Lower-case word that ends the sentence, as in "pw is swordfish".
fn plain_word(text: &str, at: usize, label: &SecretLabel) -> Option<Range<usize>> {
    let start = at + text[at..].len() - text[at..].trim_start().len();
    let end = word_end(text, start);
    let word = &text[start..end];
    let rest = text[end..].trim_start();
    let last = rest.chars().next().is_none_or(|c| ".,;:!)”\"'".contains(c));
    let plain = word.chars().count() > 4 && word.chars().all(char::is_lowercase);
    let told = label.kind == LabelKind::Password && plain && last && !is_stop(word);
    let participle = word.ends_with("ed") || word.ends_with("ing") || word.ends_with("able");
    (told && !participle).then_some(start..end)
}

/// Code that precedes its label.
fn before(text: &str, label: &SecretLabel) -> Option<Range<usize>> {
    let from = text.floor_char_boundary(label.range.start.saturating_sub(4 * REACH));
    let said = &text[from..label.range.start];
    let hit = CODE_FIRST.captures_iter(said).last()?;
    let value = hit.name("value").or_else(|| hit.name("other"))?;
    let near = said[value.end()..].chars().count() <= REACH;
    near.then(|| from + value.start()..from + value.end())
}

/// Password of `admin / hunter2`, if the user name or the context marks it as
/// one.
fn pair(text: &str) -> Option<Range<usize>> {
    PAIR.captures_iter(text).find_map(|hit| {
        let (user, value) = (hit.name("user")?, hit.name("value")?);
        let end = word_end(text, value.start());
        let word = &text[value.start()..end];
        let slash = hit["gap"].contains('/');
        let apart = hit["gap"].contains(' ');
        let from = text.floor_char_boundary(user.start().saturating_sub(8 * NEAR));
        let before = &text[from..user.start()];
        let said = ACCESS.find_iter(before).last();
        let between = said.map(|said| &before[said.end()..]);
        let told = between.is_some_and(|between| between.chars().count() <= NEAR);
        let right_before =
            between.is_some_and(|between| !between.chars().any(char::is_alphanumeric));
        let known =
            USERS.contains(&user.as_str().to_lowercase().as_str()) || user.as_str().contains('@');
        let tie = if told && slash && apart {
            Tie::Placed
        } else {
            Tie::Loose
        };
        let follows = text[end..].trim_start();
        let third = follows.starts_with('/') || follows.starts_with(':');
        let pair = match slash {
            true => known || (told && apart),
            false => right_before || (told && known),
        };
        let is_pair = pair && !third && is_value(LabelKind::Password, word, tie);
        let named = user.as_str().chars().all(|c| c.is_ascii_digit());
        (is_pair && !named && (told || is_strong(word))).then(|| value.start()..end)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hidden(text: &str) -> Vec<&str> {
        values(text)
            .into_iter()
            .map(|(range, _)| &text[range])
            .collect()
    }

    #[test]
    fn values_behind_their_names_are_found_in_any_language() {
        for (text, value) in [
            ("pw is hunter2", "hunter2"),
            ("the pw is swordfish", "swordfish"),
            ("Password hunter2", "hunter2"),
            ("Passwort: Sommer2024!", "Sommer2024!"),
            ("Das Passwort ist Sommer2024!", "Sommer2024!"),
            ("la contraseña es Verano-2024", "Verano-2024"),
            ("contrasena: verano", "verano"),
            ("mot de passe : Soleil99", "Soleil99"),
            ("Le mot de passe est « Soleil99 »", "Soleil99"),
            ("senha: carnaval7", "carnaval7"),
            ("пароль: Zima2024", "Zima2024"),
            ("密码：abc12345", "abc12345"),
            ("密码是abc12345", "abc12345"),
            ("パスワード: sakura99", "sakura99"),
            ("hasło: Wiosna24", "Wiosna24"),
            ("SESSION_SALT=q8Zk2Lm9", "q8Zk2Lm9"),
            ("Password for db1: hunter2", "hunter2"),
            ("Your verification code is 482913", "482913"),
            ("482913 is your verification code", "482913"),
            ("Use 482 913 as your one-time code", "482 913"),
            ("PIN 4711", "4711"),
            ("creds: admin / hunter2", "hunter2"),
            ("admin / hunter2", "hunter2"),
            ("login root / toor99 please", "toor99"),
            ("token: abc123 def456gh", "abc123 def456gh"),
            (
                "recovery phrase: witch collapse practice feed shame open",
                "witch collapse practice feed shame open",
            ),
        ] {
            assert!(hidden(text).contains(&value), "{text}: {:?}", hidden(text));
        }
    }

    #[test]
    fn sentences_about_secrets_stay() {
        for text in [
            "the password is wrong",
            "password is expired",
            "Password policy requires 14 characters",
            "Failed password for admin from 203.0.113.45 port 51502 ssh2",
            "your token has expired",
            "tokens/min 48,210 (+820% vs baseline)",
            "Tokens: 4821",
            "exit code 137",
            "CPU / Memory 4 / 16",
            "user / group",
            "PIN 12",
            "secret/db-credentials-v2 created",
            "Reset your password in 24 hours",
            "the password is stored in plaintext",
            "test / build-2024 passed",
            "Secrets Manager > billing",
            "pass 4 of 12",
        ] {
            assert_eq!(hidden(text), [""; 0], "{text}");
        }
    }
}

//! Labels of secrets ("Password", "PIN") in any supported language.

use std::collections::HashSet;
use std::ops::Range;
use std::sync::LazyLock;

use aho_corasick::{AhoCorasick, Input, MatchKind};

use super::folded::{Folded, as_latin};
use super::value::is_stop;
use super::vocabulary::{CONNECTORS, LabelKind, NO_LABEL_AFTER, WORDS};

/// Minimum length of a label's word, in letters, to match the end of a compound
/// such as `Datenbankpasswort`.
const COMPOUND: usize = 7;
/// Minimum length of a label's word, in letters, to match with one misread, and
/// the round letters that look alike when blurred.
const MISREAD: usize = 8;
const ROUND: &str = "aceo";
/// Maximum letters of an inflectional ending, and of separators between two
/// words.
const MOST_ADDED: usize = 4;
const MOST_JOINTS: usize = 3;
/// Languages in which the owner follows the noun.
const NOUN_FIRST: [&str; 13] = [
    "es", "fr", "pt", "it", "vi", "id", "ro", "ar", "fa", "sw", "he", "ha", "ru",
];
/// Maximum length of a label, in characters.
const LONGEST: usize = 48;
/// Maximum number of words before the label's word, and after it.
const MOST_BEFORE: usize = 3;
const MOST_BEHIND: usize = 4;
/// Maximum number of further characters in scripts without blanks between
/// words.
const MOST_UNSPACED: usize = 8;

/// Name of a secret in a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SecretLabel {
    pub(super) kind: LabelKind,
    /// Byte range in the text.
    pub(super) range: Range<usize>,
    pub(super) plural: bool,
    /// Flag: right-to-left script.
    pub(super) leftward: bool,
    /// Flag: the owner follows the noun.
    pub(super) noun_first: bool,
}

/// Label words, without separators.
struct Finder {
    words: AhoCorasick,
    phrases: Vec<Phrase>,
}

#[derive(Clone)]
struct Phrase {
    kind: LabelKind,
    /// Number of letters before each word after the first.
    joints: Vec<usize>,
    letters: usize,
    /// Flag: the language adds inflectional endings.
    inflected: bool,
    /// Flag: attributes follow the noun in this language.
    noun_first: bool,
}

static FINDER: LazyLock<Finder> = LazyLock::new(Finder::new);
static CONNECTS: LazyLock<HashSet<String>> = LazyLock::new(|| words_of(CONNECTORS));
static NO_LABEL: LazyLock<HashSet<String>> = LazyLock::new(|| words_of(NO_LABEL_AFTER));

fn words_of(list: &str) -> HashSet<String> {
    list.split(',')
        .map(|word| Folded::of(word.trim()).text)
        .collect()
}

impl Finder {
    fn new() -> Self {
        let mut known = HashSet::new();
        let (mut keys, mut phrases) = (Vec::new(), Vec::new());
        for (language, kind, words) in WORDS {
            for word in words.split(',').map(str::trim) {
                let looks = as_latin(&word.to_lowercase());
                for word in std::iter::once(word).chain(looks.as_deref()) {
                    let folded = Folded::of(word).text;
                    let parts = folded.split(is_joint).filter(|part| !part.is_empty());
                    let (mut joints, mut letters) = (Vec::new(), 0);
                    for part in parts.clone() {
                        joints.push(letters);
                        letters += part.chars().count();
                    }
                    let phrase = Phrase {
                        kind: *kind,
                        joints,
                        letters,
                        inflected: language.ends_with('~'),
                        noun_first: NOUN_FIRST.contains(&&language[..2]),
                    };
                    let key: String = parts.collect();
                    if known.insert(key.clone()) {
                        keys.push(key);
                        phrases.push(phrase);
                    }
                }
            }
        }
        // Added last, so that no misreading replaces a correctly spelt label.
        for at in 0..phrases.len() {
            for key in misread(&keys[at], phrases[at].letters) {
                if known.insert(key.clone()) {
                    keys.push(key);
                    phrases.push(phrases[at].clone());
                }
            }
        }
        let words = AhoCorasick::builder()
            .match_kind(MatchKind::LeftmostLongest)
            .build(&keys);
        Self {
            words: words.expect("a few hundred words"),
            phrases,
        }
    }
}

/// Misspellings of a long word with one round letter read as another, as OCR
/// does with blurred text: `passward`.
fn misread(key: &str, letters: usize) -> Vec<String> {
    if letters < MISREAD {
        return Vec::new();
    }
    let letters = key.char_indices();
    let round = letters.filter(|(_, letter)| ROUND.contains(*letter));
    round
        .flat_map(|(at, letter)| {
            let others = ROUND.chars().filter(move |other| *other != letter);
            others.map(move |other| {
                let mut key = key.to_owned();
                key.replace_range(at..=at, other.encode_utf8(&mut [0; 4]));
                key
            })
        })
        .collect()
}

/// Folded text without separators between words.
struct Joined {
    text: String,
    /// Offset of each byte in the folded text.
    places: Vec<usize>,
}

impl Joined {
    fn of(folded: &str) -> Self {
        let mut joined = Self {
            text: String::with_capacity(folded.len()),
            places: Vec::with_capacity(folded.len()),
        };
        for (at, c) in folded.char_indices().filter(|(_, c)| !is_joint(*c)) {
            joined.text.push(c);
            joined.places.extend(at..at + c.len_utf8());
        }
        joined
    }
}

impl Phrase {
    /// True if a part of a text has separators at the phrase's word boundaries
    /// only, or none.
    fn is_joined_like(&self, part: &str) -> bool {
        let (mut letters, mut joints) = (0, 0);
        for c in part.chars() {
            if !is_joint(c) {
                (letters, joints) = (letters + 1, 0);
                continue;
            }
            joints += 1;
            if joints > MOST_JOINTS || !self.joints.contains(&letters) {
                return false;
            }
        }
        true
    }
}

fn is_joint(c: char) -> bool {
    c.is_whitespace() || matches!(c, '_' | '.' | '\'' | '’' | '-' | '\u{200c}')
}

/// True for scripts without blanks between words, or with suffixed particles.
fn is_unspaced(c: char) -> bool {
    matches!(c, '\u{e00}'..='\u{e7f}' | '\u{3040}'..='\u{30ff}' | '\u{3400}'..='\u{9fff}'
        | '\u{ac00}'..='\u{d7af}' | '\u{f900}'..='\u{faff}')
}

fn is_leftward(c: char) -> bool {
    matches!(c, '\u{590}'..='\u{8ff}' | '\u{fb1d}'..='\u{fdff}' | '\u{fe70}'..='\u{feff}')
}

/// Labels in a text, in order.
pub(super) fn find(text: &str) -> Vec<SecretLabel> {
    let finder = &*FINDER;
    let folded = Folded::of(text);
    let joined = Joined::of(&folded.text);
    let mut found = Vec::new();
    let mut from = 0;
    while let Some(hit) = finder.words.find(Input::new(&joined.text).range(from..)) {
        let phrase = &finder.phrases[hit.pattern().as_usize()];
        let first = joined.places[hit.start()];
        let last = joined.places[hit.end() - 1] + 1;
        let next = joined.text[hit.start()..]
            .chars()
            .next()
            .map_or(1, char::len_utf8);
        from = hit.start() + next;
        let start = folded.place(first);
        let (end, plural) = with_ending(text, folded.place(last), phrase);
        let fits = phrase.is_joined_like(&folded.text[first..last])
            && begins(text, start, phrase)
            && ends(text, start, end);
        if fits {
            found.push(SecretLabel {
                kind: phrase.kind,
                plural,
                noun_first: phrase.noun_first,
                leftward: text[start..end].chars().any(is_leftward),
                range: start..end,
            });
        }
    }
    found
}

/// End of a word including its inflectional ending, and true for a plural.
fn with_ending(text: &str, end: usize, phrase: &Phrase) -> (usize, bool) {
    let rest = &text[end..];
    let letters = rest.chars().take_while(|c| c.is_lowercase());
    let added: String = letters.take(MOST_ADDED + 1).collect();
    match added.chars().count() {
        1.. if added == "s" => (end + 1, true),
        1..=MOST_ADDED if phrase.inflected && phrase.letters > MOST_ADDED => {
            (end + added.len(), false)
        }
        _ if rest.starts_with('S') && !rest[1..].starts_with(char::is_alphanumeric) => {
            (end + 1, true)
        }
        _ => (end, false),
    }
}

/// True at the start of a word, or of the last part of a compound.
fn begins(text: &str, start: usize, phrase: &Phrase) -> bool {
    let before = text[..start].chars().next_back();
    let here = text[start..].chars().next();
    match (before, here) {
        (Some(before), Some(here)) if before.is_alphanumeric() => {
            is_unspaced(here)
                || (before.is_lowercase() && here.is_uppercase())
                || (before.is_alphabetic()
                    && phrase.joints.len() == 1
                    && phrase.letters >= COMPOUND)
        }
        _ => true,
    }
}

/// True at the end of a word, or before an identifier's neutral suffix as in
/// `PASSWORD_HASH`.
fn ends(text: &str, start: usize, end: usize) -> bool {
    let last = text[start..end].chars().next_back();
    let mut rest = text[end..].chars();
    let (next, after) = (rest.next(), rest.next());
    let joined = last.zip(next).is_some_and(|(last, next)| {
        let hump = last.is_lowercase() && next.is_uppercase();
        next.is_alphabetic() && !hump && !is_unspaced(last)
    });
    let goes_on = matches!(next, Some('_' | '-' | '.')) && after.is_some_and(char::is_alphabetic);
    let hump = last.is_some_and(char::is_lowercase) && next.is_some_and(char::is_uppercase);
    !joined && (!(goes_on || hump) || names_the_same(&text[end..]))
}

/// True if an identifier's suffix only qualifies the secret: `_HASH` and `_1`,
/// but not `_POLICY`.
fn names_the_same(rest: &str) -> bool {
    const SAME: [&str; 18] = [
        "base",
        "hash",
        "digest",
        "value",
        "prod",
        "production",
        "dev",
        "test",
        "staging",
        "old",
        "new",
        "plain",
        "base64",
        "b64",
        "encrypted",
        "primary",
        "secondary",
        "salt",
    ];
    let part = rest.trim_start_matches(['_', '-', '.']);
    let end = part
        .char_indices()
        .find(|(at, c)| !c.is_alphanumeric() || (*at > 0 && c.is_uppercase()));
    let part = end.map_or(part, |(end, _)| &part[..end]).to_lowercase();
    let all = rest.trim_start_matches(['_', '-', '.']).to_lowercase();
    SAME.iter().any(|same| part == *same || all == *same)
}

/// Label that makes up a whole text, apart from its owner: `Console password`,
/// `Mot de passe temporaire :`.
pub(super) fn alone(text: &str) -> Option<SecretLabel> {
    let is_edge = |c: char| !is_letter(c) && !matches!(c, ')' | '(');
    let begin = text.len() - text.trim_start_matches(is_edge).len();
    let core = text[begin..].trim_end_matches(is_edge);
    if core.is_empty() || core.chars().count() > LONGEST {
        return None;
    }
    let labels = find(core);
    let colon = text[begin + core.len()..].contains([':', '：']);
    let label = labels.iter().find(|label| {
        let before = &core[..label.range.start];
        let behind = &core[label.range.end..];
        let owned = label.noun_first && names_owner(behind);
        is_owner(before) && (only_qualifies(behind) || owned) && (colon || !is_verdict(core))
    })?;
    Some(SecretLabel {
        range: begin + label.range.start..begin + label.range.end,
        ..label.clone()
    })
}

/// True if a few words name the owner rather than a state of the secret.
pub(super) fn names_owner(behind: &str) -> bool {
    let words: Vec<_> = split(behind).collect();
    let said = words
        .iter()
        .any(|word| NO_LABEL.contains(word) || is_stop(word));
    words.len() < MOST_BEHIND && !said && !behind.contains(['?', '!', ',', ':', '='])
}

/// True for "pass" as a test result, which is no label.
pub(super) fn is_verdict(core: &str) -> bool {
    core.eq_ignore_ascii_case("pass")
}

/// True for letters, digits and combining marks.
fn is_letter(c: char) -> bool {
    c.is_alphanumeric()
        || matches!(c, '\u{300}'..='\u{36f}' | '\u{64b}'..='\u{652}' | '\u{900}'..='\u{e7f}')
}

pub(super) fn is_owner(before: &str) -> bool {
    if before.len() > 4 * LONGEST {
        return false;
    }
    let words: Vec<_> = split(before).collect();
    words.len() <= MOST_BEFORE
        && !words.iter().any(|word| NO_LABEL.contains(word))
        && !before.contains([':', '=', '?', ','])
}

/// True if the words after a label only qualify it: "(required)", "for prod", "#2".
pub(super) fn only_qualifies(behind: &str) -> bool {
    let trimmed = behind.trim();
    if trimmed.is_empty() {
        return true;
    }
    if trimmed.chars().all(|c| is_unspaced(c) || c == ' ') {
        return trimmed.chars().count() <= MOST_UNSPACED;
    }
    let words: Vec<_> = split(behind).collect();
    let in_brackets = trimmed.starts_with('(') && trimmed.ends_with(')');
    // Folding maps digits to letters, so look at the original.
    let number = |word: &String| word.len() < 2 || behind.contains(|c: char| c.is_ascii_digit());
    let connected = match words.as_slice() {
        [] => true,
        [one] if trimmed.starts_with('#') || trimmed.len() < 3 => number(one),
        [first, ..] => CONNECTS.contains(first),
    };
    words.len() <= MOST_BEHIND && (in_brackets || connected)
}

fn split(text: &str) -> impl Iterator<Item = String> + '_ {
    let words = text.split(|c: char| c.is_whitespace() || "_-./()[]'’\"".contains(c));
    words
        .filter(|word| !word.is_empty())
        .map(|word| Folded::of(word).text)
}

/// Label at the end of a sentence, with its value next:
/// `Your new password is:`.
pub(super) fn at_end(text: &str) -> Option<SecretLabel> {
    let trimmed = text.trim_end();
    let colon = trimmed.ends_with([':', '：', '=', '→', '>']);
    let core = trimmed.trim_end_matches(|c: char| !is_letter(c));
    let without = super::inline::without_copula(core);
    if !colon && without.len() == core.len() {
        return None;
    }
    let label = find(without).pop()?;
    let behind = &without[label.range.end..];
    let last = split(&without[..label.range.start]).last();
    let said = last.is_none_or(|word| !NO_LABEL.contains(&word));
    (said && only_qualifies(behind)).then_some(label)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_of_many_languages_are_known_as_ocr_reads_them() {
        for text in [
            "Password",
            "Passw0rd:",
            "spring.datasource.passward=",
            "possword:",
            "recovery phrose",
            "Console password",
            "DB_PASSWORD",
            "dbPassword",
            "PIN",
            "Passwort",
            "Datenbankpasswort",
            "WLAN-Schlüssel",
            "contraseña",
            "contrasena",
            "Mot de passe",
            "Mot de passe temporaire :",
            "senha",
            "Senha do banco",
            "пароль",
            "naponb",
            "密码",
            "登录密码",
            "パスワード",
            "新しいパスワード:",
            "hasło",
            "haslo",
            "heslo",
            "wachtwoord",
            "şifre",
            "Şifreniz",
            "mật khẩu",
            "비밀번호",
            "पासवर्ड",
            "كلمة المرور",
            "รหัสผ่าน",
            "nenosiri",
            "SESSION_SALT",
            "Secret access key",
            "API key",
            "Recovery phrase",
            "Your one-time code",
            "password_hash",
            "Password (temporary)",
            "salasana",
            "Lösenord",
            "jelszó",
        ] {
            assert!(alone(text).is_some(), "{text}");
        }
    }

    #[test]
    fn what_only_speaks_of_secrets_is_no_label() {
        for text in [
            "Password policy",
            "Forgot password?",
            "Change password",
            "PASSWORD_POLICY",
            "Password last used",
            "token_count",
            "compass",
            "bypass",
            "Pinned",
            "Spinning",
            "secretName",
            "Secrets Manager",
            "no password",
            "Invalid token",
            "Tokenizer",
            "passenger",
            "exit code",
            "status code",
        ] {
            assert_eq!(alone(text), None, "{text}");
        }
    }

    #[test]
    fn sentences_end_with_a_label() {
        for text in [
            "Here is your new password:",
            "Your verification code is",
            "Le mot de passe est :",
            "Das Passwort lautet",
            "Use this code:",
        ] {
            assert!(at_end(text).is_some(), "{text}");
        }
        for text in [
            "Reset your password",
            "Forgot your password?",
            "see: password policy",
        ] {
            assert_eq!(at_end(text), None, "{text}");
        }
    }
}

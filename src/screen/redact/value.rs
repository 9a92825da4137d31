//! Values of secrets, as opposed to ordinary words and numbers beside a label.

use std::collections::HashSet;
use std::ops::Range;
use std::sync::LazyLock;

use regex::Regex;

use super::folded::Folded;
use super::kinds::is_random;
use super::vocabulary::LabelKind;

/// Relation between a value and the label it is tied to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Tie {
    /// In one sentence, without a sign between them.
    Loose,
    /// Beside the label, below it, or in the column it heads.
    Placed,
    /// After a colon or an equals sign.
    Explicit,
}

/// Minimum length of a password, then of a key, in characters; maximum number
/// of digits of a PIN or code.
const SHORTEST: usize = 4;
const SHORTEST_KEY: usize = 6;
const MOST_DIGITS: usize = 10;
/// Maximum number of capitals of an acronym or a short word.
const ACRONYM: usize = 4;
/// Maximum number of words before a colon that still label a value.
const MOST_SAID: usize = 4;
/// Maximum length of a truncated value that reveals nothing, in letters.
const GLIMPSE: usize = 10;
/// Maximum number of visible letters beside masking asterisks.
const STARRED: usize = 6;
/// Minimum length of a part of a name that counts as a word, in letters.
const WORD: usize = 4;
/// Minimum number of words of a recovery phrase.
const FEWEST_WORDS: usize = 4;

/// States of a secret, which are no values whatever precedes them.
const STATES: &str = "yes, no, required, optional, expired, expires, invalid, incorrect, none, null, nil, true, false, enabled, disabled, missing, empty, changed, reset, policy, rotation, rotated, redacted, masked, hidden, unset, valid, failed, accepted, wrong, never, unknown, default, rejected, not, n/a, na, encrypted, unencrypted, protected, mandatory, pending, unavailable, revoked, denied, [redacted], undefined, secretkeyref, valuefrom, opaque, erforderlich, falsch, gültig, ungültig, abgelaufen, requis, requise, obligatoire, incorrecto, incorrecta, incorrecte, expiré, expirée, expirado, requerido, requerida, obligatorio, ninguno, ninguna, inválida, inválido, obrigatório, obrigatória, nenhum, nenhuma, wymagane, nieprawidłowe, brak, vereist, verplicht, geen, неверный, обязательно, нет, richiesta, nessuna, errata, zorunlu, yanlış, yok, 必填, 必須, なし, 无, 없음";
/// Words beside a label that are no secret: actions, other labels, words of a
/// sentence.
const WORDS: &str = "set, not, no, yes, on, off, n/a, na, active, inactive, ok, okay, copy, copied, show, hide, reveal, view, edit, change, update, delete, remove, revoke, rotate, generate, regenerate, create, save, cancel, submit, continue, next, back, login, logout, sign, signin, enter, confirm, forgot, forgotten, weak, strong, medium, good, fair, short, long, stored, saved, encrypted, unencrypted, hashed, plaintext, cleartext, protected, exposed, leaked, compromised, detected, found, used, unused, shared, needed, correct, mandatory, pending, sent, sending, resend, verify, verified, unverified, available, unavailable, created, updated, deleted, revoked, granted, denied, allowed, blocked, provided, supplied, specified, configured, loading, refresh, retry, help, info, details, more, options, settings, manage, management, manager, name, names, type, types, value, values, user, username, users, email, e-mail, role, roles, status, state, description, notes, note, date, created, modified, age, scope, scopes, owner, group, groups, account, accounts, access, key, keys, secret, secrets, token, tokens, password, passwords, credentials, authentication, authorization, bearer, basic, string, number, integer, bool, boolean, object, array, bytes, text, opaque, file, path, env, secretkeyref, valuefrom, configmap, reference, external, internal, public, private, system, admin, administrator, managed, manual, automatic, auto, length, minimum, maximum, usage, limit, count, total, from, with, without, this, that, here, there, your, must, should, will, can, cannot, was, been, being, again, below, above, following, only, also, too, very, still, now, already, and, for, the, are, has, have, were, when, where, what, which, who, why, how, before, after, between, ändern, anzeigen, kopieren, zurücksetzen, vergessen, bestätigen, weiter, abbrechen, speichern, nicht, keine, kein, ja, nein, aktiv, inaktiv, oublié, afficher, masquer, copier, modifier, annuler, aucun, aucune, oui, non, olvidada, mostrar, ocultar, copiar, cambiar, editar, alterar, esqueceu, nenhum, nenhuma, sim, não, wymagane, nieprawidłowe, zmień, pokaż, kopiuj, brak, tak, nie, vereist, wijzigen, tonen, kopiëren, verplicht, geen, vergeten, неверный, показать, скрыть, изменить, обязательно, нет, да, richiesta, mostra, copia, modifica, nessuna, errata, zorunlu, yanlış, göster, kopyala, değiştir, yok, 必填, 必須, 显示, 隐藏, 复制, 表示, 変更, なし, 无, 없음, 변경";

static STATED: LazyLock<HashSet<String>> = LazyLock::new(|| words_of(STATES));
static STOPS: LazyLock<HashSet<String>> = LazyLock::new(|| words_of(WORDS));

fn words_of(list: &str) -> HashSet<String> {
    let words = list.split(',').map(str::trim);
    words.map(|word| Folded::of(word).text).collect()
}

/// Dates, quantities, addresses and paths, which are no secrets.
static FACT: LazyLock<Regex> = LazyLock::new(|| {
    let pattern = concat!(
        r"(?i)^(?:",
        // Dates, times, and both.
        r"\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4}.{0,20}|\d{1,2}:\d{2}.{0,12}|\d{1,2}-?[a-z]{3}-?\d{2,4}|",
        // Numbers with units, percentages, versions, fractions.
        r"[~<>≈≤≥+±-]?[$€£¥]?\d[\d.,]*\s?(?:%|°c?|[kmgtp]i?b?(?:/s)?|ns|[uµ]s|ms|secs?|s|mins?|m|h|hrs?|days?|d|weeks?|w|years?|y|x|rpm|rps|qps|usd|eur|chars?|characters?|of|ago|th|st|nd|rd)|",
        r"[+-]?\d{1,3}(?:,\d{3})+|\d+\.\d+|v?\d+(?:\.\d+){1,3}(?:[-+][a-z0-9.]+)?|\d+/\d+|[#]\d+|",
        // Addresses and paths.
        r"\d{1,3}(?:\.\d{1,3}){3}(?::\d+|/\d+)?|[^\s@]+@[^\s@]+\.[a-z]{2,}|[a-z][a-z0-9+.-]*://[^\s?#@]*|[~.]{0,2}/[^\s]*|[a-z]:\\.*|arn:.*",
        r")$"
    );
    Regex::new(pattern).expect("the pattern is valid")
});
/// References to a value elsewhere: variables, placeholders.
static REFERENCE: LazyLock<Regex> = LazyLock::new(|| {
    let pattern = concat!(
        r"(?i)^(?:\$[({]?[a-z_][\w.:/-]*[)}]?|%[a-z_]\w*%|\{\{.*|\$?\{[a-z_][\w.]*\}|<[^>]+>|\[[^\]]+\]|&[a-z]+;",
        r"|(?:var|local|vars|data|secrets?|env|os|process|config|settings|self|this|args|params|values|module|each|steps|inputs|github|system|getenv)(?:\.\w+|\[)\S*|[a-z_]\w*\(.*)$"
    );
    Regex::new(pattern).expect("the pattern is valid")
});
/// Host and file names: words separated by dots.
static NAMED: LazyLock<Regex> = LazyLock::new(|| {
    let pattern = r"^(?:[a-z0-9_-]+\.)+[a-z]{2,6}$";
    Regex::new(pattern).expect("the pattern is valid")
});
/// Digits of a PIN or code, grouped or after a letter.
static DIGITS: LazyLock<Regex> = LazyLock::new(|| {
    let pattern =
        r"^(?:[A-Z]{1,3}-)?[0-9OolI]{2,}(?:[ -][0-9OolI]{2,}){0,3}$|^[0-9](?: [0-9]){3,9}$";
    Regex::new(pattern).expect("the pattern is valid")
});
/// Groups of letters and digits, as in backup codes and licence keys.
static GROUPS: LazyLock<Regex> = LazyLock::new(|| {
    let pattern = r"^[A-Za-z0-9]{3,8}(?:[ -][A-Za-z0-9]{3,8}){1,7}$";
    Regex::new(pattern).expect("the pattern is valid")
});

/// Groups of capitals and digits, as a key is shown for typing in.
static KEY_GROUPS: LazyLock<Regex> = LazyLock::new(|| {
    let pattern = r"^[A-Z0-9]{4,6}(?:[ -][A-Z0-9]{4,6}){2,9}$";
    Regex::new(pattern).expect("the pattern is valid")
});

/// Counts of a word's characters by class.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct LetterMix {
    pub(super) all: usize,
    pub(super) lower: usize,
    pub(super) upper: usize,
    pub(super) digits: usize,
    pub(super) marks: usize,
    /// Changes within the word from a small letter or digit to a capital.
    pub(super) humps: usize,
    /// Changes of class between adjacent characters.
    pub(super) turns: usize,
}

impl LetterMix {
    pub(super) fn of(word: &str) -> Self {
        let mut counts = Self::default();
        let mut before: Option<char> = None;
        for c in word.chars() {
            counts.all += 1;
            match c {
                c if c.is_numeric() => counts.digits += 1,
                c if c.is_uppercase() => counts.upper += 1,
                c if c.is_alphabetic() => counts.lower += 1,
                _ => counts.marks += 1,
            }
            let turned = before.is_some_and(|before| class(before) != class(c));
            counts.turns += usize::from(turned);
            let small = before.is_some_and(|c| c.is_lowercase() || c.is_numeric());
            counts.humps += usize::from(c.is_uppercase() && small);
            before = Some(c);
        }
        counts
    }

    pub(super) fn letters(&self) -> usize {
        self.lower + self.upper
    }
}

fn class(c: char) -> u8 {
    match c {
        c if c.is_numeric() => 0,
        c if c.is_uppercase() => 1,
        c if c.is_alphabetic() => 2,
        _ => 3,
    }
}

/// True for a word that is no secret, unless a sign ties it to a label.
pub(super) fn is_stop(word: &str) -> bool {
    let word = word.trim_matches(|c: char| !c.is_alphanumeric());
    is_state(word) || STOPS.contains(&Folded::of(word).text)
}

/// True for a word that names the state of a secret.
pub(super) fn is_state(word: &str) -> bool {
    let word = word.trim_matches(|c: char| !c.is_alphanumeric());
    word.is_empty() || STATED.contains(&Folded::of(word).text)
}

/// True for a number, a date, an address or a path.
pub(super) fn is_fact(word: &str) -> bool {
    let word = word.trim_end_matches([',', ';', '.', ')']);
    // A base64 key may start with a slash, as a path does.
    FACT.is_match(word) && !(word.starts_with('/') && is_random(word))
}

/// True if hidden already, by the page itself or by redaction, or a
/// placeholder.
pub(super) fn is_covered(text: &str) -> bool {
    let cover = |c: char| "*•●.xX…-·_○# ".contains(c);
    let letters = text.chars().filter(|c| c.is_alphanumeric()).count();
    let cut = text.contains('…') || text.contains("...");
    let starred = text.contains("***") || text.contains("•••");
    (cut && letters <= GLIMPSE)
        || (starred && letters <= STARRED)
        || text.starts_with("[masked")
        || text.chars().all(cover)
        || REFERENCE.is_match(text)
}

/// True for a word of a sentence that continues after a colon: "creates a
/// password: routine onboarding". After only a few words it is a value.
pub(super) fn is_prose(text: &str, word: &Range<usize>) -> bool {
    let plain = |word: &str| {
        let word = word.trim_end_matches(['.', ',', ';']);
        word.len() > 1 && word.chars().all(char::is_lowercase)
    };
    let cell = text[..word.start].rfind("  ").map_or(0, |at| at + 2);
    let before = text[cell.min(word.start)..word.start].trim_end();
    let words = before
        .split_whitespace()
        .filter(|word| word.len() > 1)
        .count();
    let mut behind = text[word.end..].split_whitespace();
    let goes_on = text[word.end..].starts_with(' ') && behind.next().is_some_and(plain);
    before.ends_with(':') && words > MOST_SAID && plain(&text[word.clone()]) && goes_on
}

/// True for letters with digits, signs or inner capitals, unlike a word of a
/// language.
pub(super) fn is_strong(word: &str) -> bool {
    let counts = LetterMix::of(word);
    let inner = word.trim_matches(|c: char| !c.is_alphanumeric());
    let signs = inner
        .chars()
        .filter(|c| "!@#$%^&*+=~?<>".contains(*c))
        .count();
    let mixed = counts.digits > 0 && counts.letters() > 1;
    let marked = counts.letters() > 1 && (signs > 0 || word.ends_with(['!', '#', '$', '*', '%']));
    counts.all >= SHORTEST && (mixed || marked || counts.humps > 1)
}

/// True for lower-case words and numbers joined by a separator: names, and some
/// passwords.
fn is_name(word: &str) -> bool {
    let parts: Vec<_> = word.split(['-', '_', '.', '/', ':']).collect();
    let plain = |part: &&str| {
        part.chars().all(|c| c.is_ascii_digit())
            || part.chars().all(|c| c.is_ascii_lowercase())
            || (part.len() < 4
                && part
                    .chars()
                    .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit()))
    };
    parts.len() > 1 && parts.iter().all(plain)
}

/// True if a word can be the value its label announces.
pub(super) fn is_value(kind: LabelKind, word: &str, tie: Tie) -> bool {
    let option = tie == Tie::Loose && word.starts_with('-');
    let said = option || is_state(word) || (tie < Tie::Explicit && is_stop(word));
    if said || is_covered(word) || (kind != LabelKind::Link && is_fact(word)) {
        return false;
    }
    let counts = LetterMix::of(word);
    let numeric = counts.digits > 0 && counts.letters() == 0;
    match kind {
        LabelKind::Password => {
            let host = tie < Tie::Explicit && NAMED.is_match(word);
            let plain = counts.digits == 0 && counts.marks == 0;
            let shape = match tie {
                Tie::Explicit => true,
                Tie::Placed if plain => counts.humps > 0 || starts_small(word),
                Tie::Placed => counts.letters() > 0 || (numeric && counts.marks == 0),
                Tie::Loose => is_strong(word) && !is_name(word),
            };
            counts.all >= SHORTEST && shape && !host
        }
        LabelKind::Pin | LabelKind::Code => {
            let digits = DIGITS.is_match(word) && (3..=MOST_DIGITS).contains(&counts.digits);
            let mixed = counts.all >= SHORTEST_KEY && counts.digits > 0 && !is_name(word);
            digits || (mixed && tie > Tie::Loose) || (GROUPS.is_match(word) && counts.digits > 1)
        }
        LabelKind::Key => {
            let machine = is_strong(word) || (counts.all >= 16 && counts.marks == 0);
            let named = is_name(word) && counts.all < 24;
            counts.all >= SHORTEST_KEY && machine && !named && !NAMED.is_match(word)
        }
        LabelKind::Link => word.contains("://") || word.contains('/'),
        LabelKind::Card => counts.digits >= 12 && counts.letters() == 0,
        LabelKind::Phrase => false,
    }
}

fn starts_small(word: &str) -> bool {
    word.chars().next().is_some_and(char::is_lowercase)
}

/// Part of a cell's text that is the value its label announces; the cell may
/// contain a button's caption too.
pub(super) fn in_cell(kind: LabelKind, text: &str, tie: Tie) -> Option<Range<usize>> {
    let mut range = trimmed(text, 0..text.len())?;
    if matches!(kind, LabelKind::Phrase) {
        return is_phrase(&text[range.clone()]).then_some(range);
    }
    if matches!(kind, LabelKind::Pin | LabelKind::Code | LabelKind::Card) {
        let whole = &text[range.clone()];
        let digits = whole.chars().filter(char::is_ascii_digit).count();
        let card = kind == LabelKind::Card && is_value(kind, whole, tie);
        let code = kind != LabelKind::Card
            && (3..=32).contains(&digits)
            && (DIGITS.is_match(whole) || GROUPS.is_match(whole))
            && whole
                .split(' ')
                .all(|group| group.contains(|c: char| c.is_ascii_digit()));
        if card || code {
            return Some(range);
        }
        // OCR may have joined the next column to it.
        let (first, rest) = whole.split_once(' ').unwrap_or((whole, ""));
        let column = rest.starts_with(char::is_uppercase) && rest.chars().all(char::is_alphabetic);
        if column && DIGITS.is_match(first) && first.len() >= SHORTEST {
            return Some(range.start..range.start + first.len());
        }
    }
    if kind == LabelKind::Key && KEY_GROUPS.is_match(&text[range.clone()]) {
        return Some(range);
    }
    // Drop captions of buttons and icons beside it.
    loop {
        let words = &text[range.clone()];
        let Some((first, rest)) = words.rsplit_once(' ') else {
            break;
        };
        if !(is_stop(rest) || rest.chars().count() < 2) {
            break;
        }
        range.end = range.start + first.trim_end().len();
    }
    let words: Vec<_> = text[range.clone()].split_whitespace().collect();
    let whole = match words.as_slice() {
        [] => false,
        [one] => is_value(kind, one, tie),
        // A value that OCR split with a blank, or a passphrase.
        [first, rest @ ..] if rest.len() < 3 => {
            is_value(kind, first, tie) && is_strong(first) && rest.iter().all(|word| is_tail(word))
        }
        words => {
            let said = words.iter().any(|word| is_stop(word));
            kind == LabelKind::Password && !said && is_phrase(&text[range.clone()])
        }
    };
    whole.then_some(range)
}

/// True for words and numbers written as one: `OOMKilled`,
/// `ThreadPool-1-worker`.
pub(super) fn is_wordlike(text: &str) -> bool {
    let parts = text.split(|c: char| !c.is_alphabetic());
    let parts = parts.filter(|part| !part.is_empty());
    let words: Vec<usize> = parts.flat_map(humps_of).collect();
    let letters: usize = words.iter().sum();
    let short = words.iter().filter(|length| **length < 2).count();
    let long: usize = words.iter().filter(|length| **length >= WORD).sum();
    let few_short = words.len() < 2 || short * 3 <= words.len();
    let average = letters * 10 >= words.len() * 28 && few_short;
    !words.is_empty() && (average || long * 20 >= letters * 11)
}

/// Lengths of the words in camel case: each begins with a capital, and a run of
/// capitals is one word.
fn humps_of(part: &str) -> Vec<usize> {
    let letters: Vec<char> = part.chars().collect();
    let mut lengths = vec![0];
    for (at, c) in letters.iter().enumerate() {
        let small_before = at > 0 && letters[at - 1].is_lowercase();
        let small_behind = letters.get(at + 1).is_some_and(|c| c.is_lowercase());
        let acronym_ends = at > 0 && letters[at - 1].is_uppercase() && small_behind;
        if at > 0 && c.is_uppercase() && (small_before || acronym_ends) {
            lengths.push(0);
        }
        *lengths.last_mut().expect("one at least") += 1;
    }
    // A run of capitals longer than an acronym counts as random.
    if part.len() > ACRONYM && !letters.iter().any(|c| c.is_lowercase()) {
        return vec![1; letters.len()];
    }
    lengths
}

/// True for a piece of a random string that OCR split with a blank.
pub(super) fn is_tail(word: &str) -> bool {
    let counts = LetterMix::of(word);
    let joint = |c: char| c.is_ascii_alphanumeric() || "_-+/=.!*~#$%&@".contains(c);
    let mixed = counts.digits > 0 && counts.letters() > 0;
    let odd = counts.humps > 0 || word.ends_with('=') || (counts.upper > 1 && counts.lower > 0);
    let marked = counts.digits > 0 && word.ends_with(['!', '#', '$', '*', '&', '@']);
    word.chars().all(joint) && (mixed || odd || marked) && !is_fact(word)
}

/// True for a row of plain words, numbered or not, as wallets show a recovery
/// phrase.
pub(super) fn is_phrase(text: &str) -> bool {
    let stops = text
        .split_whitespace()
        .filter(|word| word.chars().any(char::is_alphabetic) && is_stop(word));
    let stops = stops.count();
    // A few words of the wallets' word list are stop words here.
    phrase_words(text).is_some_and(|count| count >= FEWEST_WORDS && stops * 4 <= count)
}

/// Number of words of a recovery phrase; `None` if the text has anything else.
pub(super) fn phrase_words(text: &str) -> Option<usize> {
    let words = text.split(|c: char| c.is_whitespace() || ".,:)#".contains(c));
    let mut count = 0;
    for word in words.filter(|word| !word.is_empty()) {
        let number = word.len() < 3 && word.chars().all(|c| c.is_ascii_digit());
        let letters = word.chars().count();
        let plain = word.chars().all(char::is_lowercase) || word.chars().all(is_ideograph);
        let small = word.trim_start_matches(|c: char| c.is_ascii_digit());
        let joined = !small.is_empty() && small.chars().all(char::is_lowercase);
        match (number, plain || joined) {
            (true, _) => {}
            (_, true) if (1..=12).contains(&letters) && (letters > 2 || !word.is_ascii()) => {
                count += 1;
            }
            _ => return None,
        }
    }
    (count > 0).then_some(count)
}

fn is_ideograph(c: char) -> bool {
    matches!(c, '\u{3040}'..='\u{30ff}' | '\u{4e00}'..='\u{9fff}' | '\u{ac00}'..='\u{d7af}')
}

/// Range without surrounding blanks, quotes and brackets.
pub(super) fn trimmed(text: &str, range: Range<usize>) -> Option<Range<usize>> {
    let edge = |c: char| c.is_whitespace() || "\"'`“”‘’«»„()[]{}<>|,;".contains(c);
    let part = &text[range.clone()];
    let start = range.start + part.len() - part.trim_start_matches(edge).len();
    let inner = text[start..range.end].trim_end_matches(edge);
    (!inner.is_empty()).then(|| start..start + inner.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use LabelKind::{Code, Key, Password, Pin};

    #[test]
    fn values_are_told_from_facts_and_buttons() {
        for (kind, word, tie) in [
            (Password, "hunter2", Tie::Placed),
            (Password, "swordfish", Tie::Placed),
            (Password, "Sommer2024!", Tie::Loose),
            (Password, "48213377", Tie::Placed),
            (Pin, "4711", Tie::Loose),
            (Code, "482913", Tie::Loose),
            (Code, "8FK2-99QX", Tie::Placed),
            (Key, "kT9vQ2mX7pL4wZ8r", Tie::Placed),
            (Key, "9f86d081884c7d65", Tie::Placed),
        ] {
            assert!(is_value(kind, word, tie), "{word}");
        }
        for (kind, word, tie) in [
            (Password, "Change", Tie::Placed),
            (Password, "required", Tie::Explicit),
            (Password, "2026-11-23", Tie::Placed),
            (Password, "90d", Tie::Placed),
            (Password, "••••••••", Tie::Placed),
            (Password, "expired", Tie::Loose),
            (Password, "admin@corp.example", Tie::Placed),
            (Pin, "12", Tie::Placed),
            (Key, "48,210", Tie::Explicit),
            (Key, "db-credentials-v2", Tie::Placed),
            (Key, "1.2.3", Tie::Placed),
            (Key, "tokens/min", Tie::Placed),
        ] {
            assert!(!is_value(kind, word, tie), "{word}");
        }
    }

    #[test]
    fn cells_hold_a_value_and_maybe_a_button() {
        let part =
            |kind, text: &str| in_cell(kind, text, Tie::Placed).map(|range| text[range].to_owned());
        assert_eq!(part(Password, "hunter2 Copy").as_deref(), Some("hunter2"));
        assert_eq!(part(Code, "482 913").as_deref(), Some("482 913"));
        assert_eq!(part(Password, "Last changed 3 days ago"), None);
        assert_eq!(part(Password, "Enter your password"), None);
        assert_eq!(
            part(
                LabelKind::Phrase,
                "1. witch 2. collapse 3. practice 4. feed"
            )
            .as_deref(),
            Some("1. witch 2. collapse 3. practice 4. feed")
        );
    }
}

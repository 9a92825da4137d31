//! Redaction of secrets on a screen before a picture or text is sent or stored.
//! Pictures leave only as a [`RedactedFrame`].
//!
//! Works on the recognised text and its positions: by the format of a secret,
//! and by labels before, beside or above it; a secret without either is not
//! detected. Tolerates OCR errors, such as an underscore read as a blank or an
//! I as a 1. A redacted value is replaced by its kind.

mod cards;
mod columns;
mod commands;
mod folded;
mod frame;
mod inline;
mod kinds;
mod labels;
mod lines;
mod own;
mod pem;
mod placed;
mod shell;
mod urls;
mod value;
mod vocabulary;
mod wrapped;

use std::borrow::Cow;
use std::ops::Range;

pub use frame::{RedactedFrame, RedactedJpeg, RedactionOff};
pub(crate) use lines::READABLE;
pub use lines::{UNREADABLE, is_unreadable, secrets_beside, secrets_on};
pub use own::OwnPatterns;
use vocabulary::LabelKind;

/// Redaction level applied before a picture or text is sent or stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub enum Redact {
    Off,
    #[default]
    Secrets,
    SecretsAndPersonal,
}

impl Redact {
    /// Level for pictures stored and shown on this machine: at least secrets
    /// where OCR runs; off where it does not, as nothing could be detected.
    /// Without OCR no analyst is enabled, or `redact` is off and no analyst
    /// depends on text.
    pub fn at_home(self, ocr: bool) -> Self {
        match ocr {
            true => self.max(Self::Secrets),
            false => Self::Off,
        }
    }

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Secrets => "secrets",
            Self::SecretsAndPersonal => "secrets+personal",
        }
    }
}

/// Part of a text to hide.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SensitiveSpan {
    pub range: Range<usize>,
    pub kind: Cow<'static, str>,
    pub personal: bool,
    /// Fixed number of characters; 0 if it varies.
    letters: usize,
}

/// Placeholder for a redacted value of that kind.
pub fn name_of(kind: &str) -> String {
    format!("[masked {kind}]")
}

/// Spans of a text to hide, in order and without overlaps.
fn spans(text: &str, own: &OwnPatterns) -> Vec<SensitiveSpan> {
    let mut found = SpanList::default();
    by_kind(text, &mut found);
    for (range, kind) in urls::values(text) {
        let end = whole_end(text, range.end, false, 0);
        found.add(text, range.start..end, kind.into());
    }
    for range in cards::values(text) {
        found.add(text, range, name_for(LabelKind::Card).into());
    }
    for (range, kind) in inline::values(text) {
        let range = secret_part(text, range, kind);
        found.add(text, range, name_for(kind).into());
    }
    for range in own.find(text) {
        found.merge(range, "pattern of your own");
    }
    found.0.sort_by_key(|span| span.range.start);
    found.0
}

/// Adds spans found by the format of a secret.
fn by_kind(original: &str, found: &mut SpanList) {
    let text = &*folded(original);
    let (mended, places) = mended(text);
    let whole = (text, None);
    let texts = std::iter::once(whole).chain(mended.as_deref().map(|text| (text, Some(&places))));
    for (text, places) in texts {
        for kind in kinds::all() {
            for hit in kind.pattern.captures_iter(text) {
                let Some(value) = hit.name("value").or_else(|| hit.get(0)) else {
                    continue;
                };
                let harmless =
                    kind.name == kinds::LONG_TOKEN && kinds::is_identified(&text[..value.start()]);
                let prose =
                    kind.name == "password or token" && value::is_prose(text, &value.range());
                if harmless || prose || !(kind.also)(value.as_str()) || is_name(text, value.range())
                {
                    continue;
                }
                let value = match kind.name {
                    kinds::LONG_TOKEN => whole_run(text, value.range()),
                    _ => value.range(),
                };
                let missing = kind.letters.saturating_sub(value.len());
                let end = whole_end(text, value.end, kind.personal, missing);
                let place = |at: usize| places.map_or(at, |places| places[at]);
                let start = original.floor_char_boundary(place(value.start));
                let span = SensitiveSpan {
                    range: start..original.ceil_char_boundary(place(end)),
                    kind: kind.name.into(),
                    personal: kind.personal,
                    letters: kind.letters,
                };
                // The whole secret, where only a part was found before.
                if places.is_some() {
                    found.forget_within(&span);
                }
                found.push(span);
            }
        }
    }
}

/// Spans found so far; only personal ones may overlap.
#[derive(Default)]
struct SpanList(Vec<SensitiveSpan>);

impl SpanList {
    fn push(&mut self, span: SensitiveSpan) {
        let free = !self.0.iter().any(|known| {
            known.range.start < span.range.end
                && span.range.start < known.range.end
                && !known.personal
        });
        if free && !span.range.is_empty() {
            // A host after a password looks like an email address.
            self.0.retain(|known| {
                span.personal
                    || known.range.end <= span.range.start
                    || span.range.end <= known.range.start
            });
            self.0.push(span);
        }
    }

    /// Removes spans within a longer one.
    fn forget_within(&mut self, span: &SensitiveSpan) {
        self.0.retain(|known| {
            let within = span.range.start <= known.range.start
                && known.range.end <= span.range.end
                && known.range.len() < span.range.len();
            !within || span.personal
        });
    }

    fn add(&mut self, text: &str, range: Range<usize>, kind: Cow<'static, str>) {
        if !is_name(text, range.clone()) {
            self.push(SensitiveSpan {
                range,
                kind,
                personal: false,
                letters: 0,
            });
        }
    }

    /// Adds a span, merging those it overlaps.
    fn merge(&mut self, mut range: Range<usize>, kind: &'static str) {
        self.0.retain(|known| {
            let meets = known.range.start < range.end && range.start < known.range.end;
            if meets {
                range = range.start.min(known.range.start)..range.end.max(known.range.end);
            }
            !meets
        });
        self.push(SensitiveSpan {
            range,
            kind: kind.into(),
            personal: false,
            letters: 0,
        });
    }
}

/// Name of the kind of secret that a label announces.
fn name_for(kind: LabelKind) -> &'static str {
    match kind {
        LabelKind::Password => "password",
        LabelKind::Pin => "PIN",
        LabelKind::Key => "password or token",
        LabelKind::Phrase => "recovery phrase",
        LabelKind::Code => "one-time code",
        LabelKind::Link => "token in a link",
        LabelKind::Card => "card number",
    }
}

/// Secret part of a value: for a link, the part after its host.
fn secret_part(text: &str, range: Range<usize>, kind: LabelKind) -> Range<usize> {
    if kind != LabelKind::Link {
        return range;
    }
    let address = &text[range.clone()];
    let host = address.find("://").map_or(0, |at| at + 3);
    let path = address[host..]
        .find(['/', '?', '#'])
        .map(|at| host + at + 1);
    let path = path.filter(|at| address[*at..].chars().any(|c| c.is_ascii_digit()));
    path.map_or(range.end, |at| range.start + at)..range.end
}

/// True within the placeholder of a redacted value.
fn is_name(text: &str, range: Range<usize>) -> bool {
    text.match_indices("[masked").any(|(open, _)| {
        let close = text[open..]
            .find(']')
            .map_or(text.len(), |close| open + close);
        open < range.end && range.start <= close
    })
}

/// Replaces an accented letter, which OCR misread, by as many ASCII letters as
/// it has bytes.
fn folded(text: &str) -> Cow<'_, str> {
    if text.is_ascii() {
        return Cow::Borrowed(text);
    }
    let fold = |c: char| match c {
        _ if c.is_ascii() => String::from(c),
        '×' => "xx".to_owned(),
        '–' | '—' | '−' => "---".to_owned(),
        _ if c.is_alphabetic() => "a".repeat(c.len_utf8()),
        _ => String::from(c),
    };
    text.chars().map(fold).collect()
}

/// Text without the blanks that OCR inserted into random strings, and the
/// original offset of each byte; `None` if there are none.
fn mended(text: &str) -> (Option<String>, Vec<usize>) {
    let mut mended = String::new();
    let mut places = Vec::new();
    let mut before = "";
    let (mut at, mut run) = (0, 0);
    for word in text.split(' ') {
        let torn = looks_torn(before) && looks_torn(word);
        if at > 0 && !(torn || kinds::is_short_of(&mended[run..], word)) {
            run = mended.len() + 1;
            mended.push(' ');
            places.push(at - 1);
        }
        mended.push_str(word);
        places.extend(at..at + word.len());
        before = word;
        at += word.len() + 1;
    }
    places.push(text.len());
    ((mended.len() < text.len()).then_some(mended), places)
}

/// True if a word may be a piece of a random string: mixed case or digits in
/// alternation.
fn looks_torn(word: &str) -> bool {
    let class = |c: char| match c {
        '0'..='9' => 0,
        'A'..='Z' => 1,
        _ => 2,
    };
    let letters: Vec<_> = word.chars().collect();
    let turns = letters
        .windows(2)
        .filter(|pair| class(pair[0]) != class(pair[1]));
    letters.len() >= 6 && turns.count() * 4 >= letters.len()
}

/// Random string with its pieces before and behind a sign: the parts of a token
/// separated by dots, or a letter that OCR read as a bracket.
fn whole_run(text: &str, mut run: Range<usize>) -> Range<usize> {
    const SIGNS: [char; 7] = ['.', '(', ')', '[', ']', '|', '!'];
    const SHORTEST: usize = 8;
    let joined = |c: char| c.is_ascii_alphanumeric() || "+/_=-".contains(c);
    let is_piece = |piece: &str| {
        piece.len() >= SHORTEST && value::is_tail(piece) && !value::is_wordlike(piece)
    };
    while let Some(before) = text[..run.start].strip_suffix(SIGNS) {
        let piece = &before[before.trim_end_matches(joined).len()..];
        if !is_piece(piece) {
            break;
        }
        run.start = before.len() - piece.len();
    }
    while let Some(behind) = text[run.end..].strip_prefix(SIGNS) {
        let piece = &behind[..behind.len() - behind.trim_start_matches(joined).len()];
        if !is_piece(piece) {
            break;
        }
        run.end += 1 + piece.len();
    }
    run
}

/// End of a secret that OCR split with a blank: extends over the next words
/// while they look as random, or while its kind's length is not reached.
fn whole_end(text: &str, mut end: usize, personal: bool, mut missing: usize) -> usize {
    while !personal && text[end..].starts_with(' ') {
        let word = text[end + 1..]
            .split([' ', '"', '\'', ','])
            .next()
            .unwrap_or_default();
        let plain = |c: char| c.is_ascii_alphanumeric() || "_-+/=".contains(c);
        let rest = (1..=missing + 1).contains(&word.len()) && missing > 0;
        if !((rest && word.chars().all(plain)) || (word.len() > 2 && value::is_tail(word))) {
            break;
        }
        missing = missing.saturating_sub(word.len());
        end += 1 + word.len();
    }
    end
}

/// Masks the secrets of a text. Idempotent.
pub fn mask_secrets(text: &str) -> Cow<'_, str> {
    mask(text, Redact::Secrets)
}

/// Masks secrets, and personal data if the level includes it.
pub fn mask(text: &str, redact: Redact) -> Cow<'_, str> {
    mask_besides(text, redact, &OwnPatterns::default())
}

/// Masks as [`mask`] does, and also the user's own patterns.
pub fn mask_besides<'a>(text: &'a str, redact: Redact, own: &OwnPatterns) -> Cow<'a, str> {
    if redact == Redact::Off {
        return Cow::Borrowed(text);
    }
    let spans = spans(text, own);
    let hidden = spans.iter().rev().filter(|span| match redact {
        Redact::Off => false,
        Redact::Secrets => !span.personal,
        Redact::SecretsAndPersonal => true,
    });
    hidden.fold(Cow::Borrowed(text), |mut masked, span| {
        masked
            .to_mut()
            .replace_range(span.range.clone(), &name_of(&span.kind));
        masked
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_random_string_is_hidden_with_its_parts_around_a_sign() {
        for (text, masked) in [
            (
                "x_1wMrSEjOcCWaKWGxqUUBS5YFRAKrtVPP.54YC22NQm4IZyvBK end",
                "[masked long random token] end",
            ),
            (
                "for B2juzT9RmlMaaf)J8eNwGMukY6WMQZFCiGny here",
                "for [masked long random token] here",
            ),
            (
                "get x_1wMrSEjOcCWaKWGxqUUBS5YFRAKrtVPP.internal",
                "get [masked long random token].internal",
            ),
        ] {
            assert_eq!(mask_secrets(text), masked);
        }
    }

    #[test]
    fn pictures_at_home_hide_secrets_wherever_the_screen_is_read() {
        use Redact::{Off, Secrets, SecretsAndPersonal};
        for (level, read) in [
            (Off, Secrets),
            (Secrets, Secrets),
            (SecretsAndPersonal, SecretsAndPersonal),
        ] {
            assert_eq!(level.at_home(true), read);
            assert_eq!(level.at_home(false), Off);
        }
    }

    #[test]
    fn secrets_are_masked_and_what_is_around_them_stays() {
        let cases = [
            (
                "AWS_ACCESS_KEY_ID=AKIAIOSFODNN7EXAMPLE",
                "AWS_ACCESS_KEY_ID=[masked AWS access key]",
            ),
            (
                "aws_secret_access_key = wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
                "aws_secret_access_key = [masked AWS secret key]",
            ),
            (
                "aws secret access key = wJalrXUtnFEMI/K7MDENG",
                "aws secret access key = [masked AWS secret key]",
            ),
            (
                "AWS SECRET-ACCESS KEY-WJaL XUAFMI/K7MDENG/bPXRFICYEXAMPLKEY",
                "AWS SECRET-ACCESS KEY-[masked AWS secret key]",
            ),
            (
                "remote: ghp_16C7e42F292c6912E7710c838347Ae178B4a ok",
                "remote: [masked GitHub token] ok",
            ),
            (
                "remote: ghp 16C7e42F292c6912E7710c838347Ae178B4a",
                "remote: [masked GitHub token]",
            ),
            (
                "export OPENAI=sk-proj-abcdefghij0123456789",
                "export OPENAI=[masked OpenAI key]",
            ),
            (
                "key AIzaSyA1234567890abcdefghijklmnopqrstuvw",
                "key [masked Google API key]",
            ),
            ("xoxb-123456789012-abcdefGHIJ", "[masked Slack token]"),
            (
                "Authorization: Bearer eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.abc_def",
                "Authorization: Bearer [masked JSON web token]",
            ),
            (
                "authorization: bearer 0123456789abcdef0123",
                "authorization: bearer [masked authorization]",
            ),
            (
                "postgres://app:hunter2@db.example/prod",
                "postgres://app:[masked password]@db.example/prod",
            ),
            (
                "mysql -u root -phunter2 prod",
                "mysql -u root -p[masked password] prod",
            ),
            (
                "curl -u admin:hunter2 https://x.example",
                "curl -u admin:[masked password] https://x.example",
            ),
            (
                "tool --password hunter2 --verbose",
                "tool --password [masked password or token] --verbose",
            ),
            (
                "DB_PASSWORD=hunter2;x",
                "DB_PASSWORD=[masked password or token];x",
            ),
            (
                "{\"token\": \"abcd1234\"}",
                "{\"token\": \"[masked password or token]\"}",
            ),
            (
                "-----BEGIN RSA PRIVATE KEY----- MIIEpAIBAAKCAQEA7",
                "-----BEGIN RSA PRIVATE KEY----- [masked private key]",
            ),
        ];
        for (text, masked) in cases {
            assert_eq!(mask_secrets(text), masked);
            assert_eq!(mask_secrets(masked), masked, "twice");
        }
    }

    #[test]
    fn what_ocr_makes_of_a_secret_is_one_still() {
        for (text, masked) in [
            (
                "ghp_16C7e42F292c69 12E7710c838347Ae178B4a",
                "[masked GitHub token]",
            ),
            (
                "key AKIAIOSF ODNN7EXAMPLE was used",
                "key [masked AWS access key] was used",
            ),
            (
                "key AKIAIOSFODNN7EXA MPLE was used",
                "key [masked AWS access key] was used",
            ),
            (
                "postgres ://admin:hunter2Pass@db.internal",
                "postgres ://admin:[masked password]@db.internal",
            ),
            (
                "cur1 -u admin:harbour-42 https://x.example",
                "cur1 -u admin:[masked password] https://x.example",
            ),
            (
                "curl-u admin:harbour-42 https://x.example",
                "curl-u admin:[masked password] https://x.example",
            ),
            (
                "sshpass -p. '18b.xLPRuGa4' ssh ops@bastion",
                "sshpass -p. '[masked password]' ssh ops@bastion",
            ),
            ("curl-url: https://x.example", "curl-url: https://x.example"),
            (
                "card4111111111111111was declined",
                "card[masked card number]was declined",
            ),
            ("4111 11111111 1111", "[masked card number]"),
            (
                "psql postgres://app:fpDaPu- *yn@db1/orders",
                "psql postgres://app:[masked password]@db1/orders",
            ),
            (
                "key=AIzaSyA1234567890ábcdéfghijklmnopqrstuvwé",
                "key=[masked Google API key]",
            ),
            (
                "docker login -u ci -p X.*aM!cu registry.example",
                "docker login -u ci -p [masked password] registry.example",
            ),
            (
                "redis-cli -a hunter2 ping",
                "redis-cli -a [masked password] ping",
            ),
        ] {
            assert_eq!(mask_secrets(text), masked);
        }
    }

    #[test]
    fn a_line_of_any_length_is_looked_through() {
        for word in ["password ", "user admin:x / y ", "your code is ", "a1B2c3-"] {
            let text = word.repeat(20_000 / word.len());
            assert!(mask_secrets(&text).len() > 1000, "{word}");
        }
    }

    #[test]
    fn plain_words_stay() {
        for text in [
            "Failed password for admin from 203.0.113.45 port 51502 ssh2",
            "Root account has no MFA device",
            "tokens/min 48,210 (+820% vs baseline)",
            "Password policy requires 14 characters",
            "An event creates a key or a console password: routine onboarding, or persistence.",
            "FAIL  Access key AKIA\u{2026}7EX is 412 days old",
            "powershell.exe -NoP -EncodedCommand SQBFAFgAIAAoAE4AZQB3AC0A",
            "Access denied for user root@10.0.0.4 (using password: YES)",
            "kubectl create secret generic db-credentials --from-file=./x",
            "sk-learn and ask-me are no keys",
            "https://siem.example/search?view=authentication",
            "2026-11-23T14:02:10Z",
            "Größe 4096 × 2160, GitHub OpenAI README Makefile",
            "docker run -p 8080:80 nginx",
            "request 7c1d2f0e-94aa-4c53-8f0b-2f6d1b2c9a10 took 2.4 s",
        ] {
            assert!(
                matches!(mask_secrets(text), Cow::Borrowed(_)),
                "{text} -> {}",
                mask_secrets(text)
            );
        }
    }
}

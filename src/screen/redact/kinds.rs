//! Patterns of secrets and personal data, tolerant of OCR errors.

use std::sync::LazyLock;

use regex::Regex;

use super::value;

/// Pattern of a secret: its group `value`, or else the whole match, is hidden.
pub(super) struct SecretPattern {
    pub(super) name: &'static str,
    pub(super) personal: bool,
    pub(super) pattern: Regex,
    /// Additional condition on a match.
    pub(super) also: fn(&str) -> bool,
    /// Fixed number of characters; 0 if it varies.
    pub(super) letters: usize,
}

/// Kind of a secret recognised by its randomness alone.
pub(super) const LONG_TOKEN: &str = "long random token";
/// Names that precede a secret.
const NAMES: &str = "passw[o0]rds?|passwd|passphrase|pwd|pass|secret|secret[_ -]?key|client[_ -]?secret|t[o0]ken|auth[_ -]?t[o0]ken|access[_ -]?t[o0]ken|refresh[_ -]?t[o0]ken|api[_ -]?key|apikey|private[_ -]?key|access[_ -]?key|account[_ -]?key|shared[_ -]?access[_ -]?key|signing[_ -]?key|encryption[_ -]?key|connection[_ -]?string|credentials?";

/// Kinds of fixed length, in characters.
const LENGTHS: [(&str, usize); 8] = [
    ("AWS access key", 20),
    ("AWS secret key", 40),
    ("Azure client secret", 40),
    ("Azure storage key", 88),
    ("GitLab token", 26),
    ("Google API key", 39),
    ("Google client secret", 35),
    ("npm token", 40),
];

static KINDS: LazyLock<Vec<SecretPattern>> = LazyLock::new(|| {
    let any: fn(&str) -> bool = |_| true;
    let secret = |name, pattern: &str| kind(name, false, pattern, any);
    let token = |name, start: &str, rest: &str| secret(name, &format!("{}{rest}", loose(start)));
    let mut kinds = vec![
        // Secrets with a fixed prefix. The length leaves room for letters that
        // OCR dropped.
        secret(
            "AWS access key",
            &format!(
                r"\b(?:{}|{}|{}|{})[0-9A-Za-z]{{11,22}}\b",
                loose("AKIA"),
                loose("ASIA"),
                loose("ABIA"),
                loose("ACCA")
            ),
        ),
        secret("GitHub token", r"\bgh[pousr][_ .-]{0,2}[0-9A-Za-z]{20,}"),
        token("GitHub token", "github_pat_", "[0-9A-Za-z_]{20,}"),
        token("GitLab token", "glpat-", "[0-9A-Za-z_-]{14,}"),
        token("npm token", "npm_", "[0-9A-Za-z]{30,}"),
        token("Hugging Face token", "hf_", "[0-9A-Za-z]{30,}"),
        token("DigitalOcean token", "dop_v1_", "[0-9a-fO]{40,}"),
        secret(
            "Stripe key",
            r"\b[spr]k[_ .-]{1,2}(?:live|1ive|Iive|test)[_ .-]{1,2}[0-9A-Za-z]{14,}",
        ),
        secret(
            "Slack token",
            r"\b[xX][oO0][xX][abeoprs][-_ ~]{1,2}[0-9A-Za-z-]{10,}",
        ),
        secret(
            "Slack webhook",
            r"hooks[. ]{1,2}slack[. ]{1,2}com/services/[0-9A-Za-z/]{18,}",
        ),
        secret("OpenAI key", r"\b[sS]k[-_]{1,2}[0-9A-Za-z_-]{16,}"),
        secret("Google API key", r"\bA[Il1|!][zZ2][aA][0-9A-Za-z_-]{28,}"),
        secret("Google API key", r"\bAQ\.[0-9A-Za-z_-]{20,}"),
        token("Google client secret", "GOCSPX-", "[0-9A-Za-z_-]{18,}"),
        secret("Google access token", r"\bya29[. ]{1,2}[0-9A-Za-z_-]{18,}"),
        secret(
            "Azure client secret",
            r"\b[0-9A-Za-z_~.-]{3}[78B][QO0]~[0-9A-Za-z_~.-]{26,40}",
        ),
        secret("Azure storage key", r"\b[0-9A-Za-z+/]{80,90}={1,2}"),
        secret(
            "Azure SAS signature",
            r"(?i)\bsig=(?P<value>[0-9A-Za-z%+/]{24,}={0,2})",
        ),
        secret(
            "JSON web token",
            r"\b[e0c][yv][J1I][0-9A-Za-z_-]{8,}(?:\. ?| )[0-9A-Za-z_-]{4,}(?:(?:\. ?| )[0-9A-Za-z_-]{4,})?",
        ),
        // Secrets recognised by the name before them.
        secret(
            "AWS secret key",
            r"(?i)(?:aws[\W_]{0,3}secret[\W_]{0,3}access[\W_]{0,3}key[\W_]{1,4})(?P<value>[0-9A-Za-z+/][0-9A-Za-z+/ ]{7,})",
        ),
    ];
    let named = |name, pattern: String| kind(name, false, &pattern, is_value);
    let commands = super::commands::PATTERNS.iter();
    kinds.extend(commands.map(|(name, pattern)| named(name, (*pattern).to_owned())));
    kinds.extend([
        // DB_PASSWORD=x, "token": "x", client_secret: x
        named(
            "password or token",
            format!(r#"(?i)(?:{NAMES})["']?\s*(?:=|:)\s*["']?(?P<value>[^\s"',;&]{{4,}})"#),
        ),
        // --password x, --token=x
        named(
            "password or token",
            format!(r#"(?i)(?:^|[^0-9a-z])--?(?:[a-z]+-)*(?:{NAMES})[ =]["']?(?P<value>[^\s"']{{3,}})"#),
        ),
        // mysql -px, sshpass -p 'x' (OCR often misreads the command name, or the
        // edge of a letter as a dot),
        // docker login -p x
        named(
            "password",
            r#"\b(?:mysq[l1It|]|mysq[l1It|]dump|mariadb|[a-z]{0,4}pass|psq[l1It|]|docker\s[l1I|]ogin|podman\s[l1I|]ogin|he[l1I|]m\sregistry\s[l1I|]ogin|az\s[l1I|]ogin)\b[^|;]*?\s-p[.,]?\s?["']?(?P<value>[^\s"'-][^\s"']{2,})"#.to_owned(),
        ),
        // redis-cli -a x, --requirepass x, -passin pass:x, ldapsearch -w x
        named(
            "password",
            r#"(?i)(?:\bredis-c[l1|]i\b[^|;]*?\s-a\s|requirepass\s|-pass(?:in|out)?\spass:|\b[l1|]dap[a-z]+\b[^|;]*?\s-w\s)["']?(?P<value>[^\s"'-][^\s"']{2,})"#.to_owned(),
        ),
        // curl -u user:x, whose first blank OCR may lose
        named(
            "password",
            r#"(?i)\b(?:(?:c[uv]r[l1I|]|wget|http)\b[^|;]*?\s(?:-u|--user)[ =]?\s?|c[uv]r[l1I|]-u\s)["']?[^\s:;+"']+[:;+]\s?(?P<value>[^\s"']{3,})"#.to_owned(),
        ),
        named(
            "authorization",
            r"(?i)\b(?:bearer|basic)\s+(?P<value>[0-9A-Za-z._~+/=-]{16,})".to_owned(),
        ),
        // Table cell with just that name, followed by the value's cell.
        kind(
            "password or token",
            false,
            &format!(r"(?i)(?:^|\s{{2}})(?:[a-z0-9]+[_. -])*(?:{NAMES})\s{{2,}}(?P<value>\S{{6,}})(?:\s{{2}}|$)"),
            |text| is_value(text) && text.contains(|c: char| c.is_ascii_digit() || "!*~+=#%^&$@".contains(c)),
        ),
        kind("private key", false, r"-{2,}\s?BEGIN[A-Z0-9 ]*PR[Il1|]VATE\s?KEY[A-Z ]*-{2,} ?(?P<value>[0-9A-Za-z+/=]{8,}(?: [0-9A-Za-z+/=]{8,})*)", any),
        // Long and random, whatever it gives access to.
        kind(LONG_TOKEN, false, r"[0-9A-Za-z+/_=-]{20,}", is_random),
        kind(
            "e-mail address",
            true,
            r"(?i)\b[a-z0-9._%+-]+\s?[@©]\s?[a-z0-9-]+(?:\.[a-z0-9-]+)*\.[a-z]{2,}\b",
            any,
        ),
        kind("IBAN", true, r"\b[A-Z]{2}[0-9]{2}(?: ?[0-9A-Z]{4}){3,7}(?: ?[0-9A-Z]{1,3})?\b", |text| {
            text.chars().filter(char::is_ascii_digit).count() >= 10
        }),
        kind("phone number", true, r"(?:\+|\b00)[1-9][0-9]{0,2}[ ./-]?(?:\(0\))?(?:[ ./-]?[0-9]{2,4}){2,5}\b", |text| {
            (8..=15).contains(&digits(text).len())
        }),
        kind("social security number", true, r"\b[0-9]{3}-[0-9]{2}-[0-9]{4}\b", any),
    ]);
    kinds
});

pub(super) fn all() -> &'static [SecretPattern] {
    &KINDS
}

fn kind(
    name: &'static str,
    personal: bool,
    pattern: &str,
    also: fn(&str) -> bool,
) -> SecretPattern {
    SecretPattern {
        name,
        personal,
        pattern: Regex::new(pattern).expect("the patterns are valid"),
        also,
        letters: LENGTHS
            .iter()
            .find(|(of, _)| *of == name)
            .map_or(0, |(_, letters)| *letters),
    }
}

/// Pattern of a literal prefix that accepts characters OCR confuses.
fn loose(start: &str) -> String {
    let mut pattern = String::from(r"\b");
    for c in start.chars() {
        pattern.push_str(match c {
            'I' => "[Il1|!J]",
            'A' => "[A4]",
            'K' => "[KkX]",
            'S' => "[S5s]",
            'B' => "[B8]",
            'C' => "[CcG]",
            'G' => "[G6C]",
            'O' => "[O0oQ]",
            'X' => "[Xx]",
            'P' => "[Pp]",
            'l' | 'i' | '1' => "[l1Ii|]",
            'v' => "[vV]",
            'o' => "[o0O]",
            '_' => "[_ .-]{0,2}",
            '-' => "[-_ ~]{0,2}",
            c => {
                pattern.push(c);
                continue;
            }
        });
    }
    pattern
}

fn is_value(text: &str) -> bool {
    !text.starts_with("--")
        && !value::is_covered(text)
        && !value::is_state(text)
        && !value::is_fact(text)
}

fn digits(text: &str) -> Vec<u32> {
    text.chars().filter_map(|c| c.to_digit(10)).collect()
}

/// Token prefixes, each with the token's length in characters.
const BEGINNINGS: [(&str, usize); 18] = [
    ("AKIA", 20),
    ("ASIA", 20),
    ("AIza", 39),
    ("ghp_", 40),
    ("gho_", 40),
    ("ghs_", 40),
    ("ghu_", 40),
    ("github_pat_", 93),
    ("glpat-", 26),
    ("npm_", 40),
    ("hf_", 37),
    ("GOCSPX-", 35),
    ("dop_v1_", 71),
    ("ya29.", 94),
    ("sk-", 51),
    ("xoxb-", 57),
    ("xoxp-", 76),
    ("services/T", 46),
];

/// True if a run of characters ends with an incomplete token of known length
/// that the next word may continue.
pub(super) fn is_short_of(run: &str, word: &str) -> bool {
    let token = |c: char| c.is_ascii_alphanumeric() || "_-.+/=".contains(c);
    let piece = word.find(|c| !token(c)).map_or(word, |end| &word[..end]);
    let missing = BEGINNINGS.iter().filter_map(|(begin, length)| {
        let at = run.rfind(begin)?;
        let joined = run[..at].ends_with(|c: char| c.is_ascii_alphanumeric());
        let whole = run[at..].chars().all(token);
        (!joined && whole).then(|| length.saturating_sub(run.len() - at))
    });
    let missing = missing.max().unwrap_or(0);
    // Without a digit or capital it is a word of the sentence.
    let random = piece
        .chars()
        .any(|c| c.is_ascii_digit() || c.is_ascii_uppercase());
    !piece.is_empty() && random && piece.len() <= missing
}

/// True if a text ends with a name for an identifier, hash or encoded command,
/// which is no secret.
pub(super) fn is_identified(before: &str) -> bool {
    static IDENTIFIES: LazyLock<Regex> = LazyLock::new(|| {
        let pattern = r#"(?i)(?:\bid|[a-z]_id|uuid|guid|\buid|(?:trace|span|request|incident|event|document|alert|correlation|message|object|record)(?:[ _-]?id)?|hash|digest|\bsha-?[0-9]{0,3}|commit|etag|checksum|revision|\s-e(?:c|nc|ncodedcommand)?)["']?\s*(?:[:=]|is|of)?\s*["'(]?#?$|#$"#;
        Regex::new(pattern).expect("the pattern is valid")
    });
    IDENTIFIES.is_match(before)
}

/// True for upper-case, lower-case and digits in frequent alternation, unlike
/// names, paths and hexadecimal hashes.
pub(super) fn is_random(text: &str) -> bool {
    let class = |c: char| match c {
        'a'..='z' => 0,
        'A'..='Z' => 1,
        '0'..='9' => 2,
        _ => 3,
    };
    let mut counts = [0; 4];
    let (mut switches, mut to_digit) = (0, 0);
    let mut before = None;
    for c in text.chars() {
        let class = class(c);
        counts[class] += 1;
        switches += usize::from(before.is_some_and(|before| before != class));
        to_digit += usize::from(class == 2 && before != Some(2));
        before = Some(class);
    }
    let length = text.len();
    // Short words between separators make a path or a name.
    let longest = text.split(['/', '_', '-', '=']).map(str::len).max();
    counts[..3].iter().all(|count| *count >= 2)
        && counts[2] < length * 3 / 4
        && switches * 3 >= length
        && to_digit >= 2
        && longest.is_some_and(|longest| longest >= 12)
        && !value::is_wordlike(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_not_random() {
        for random in [
            "je7MtGbClwBF2Zp9Utk4h3yCo8nvbEXAMPLEKEY",
            "16C7e42F292c6912E7710c838347Ae178B4a",
            "kT9vQ2mX7pL4wZ8rB1nC6dF3",
        ] {
            assert!(is_random(random), "{random}");
        }
        for plain in [
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
            "AWSServiceRoleForAutoScaling2024",
            "usr/lib/x86_64-linux-gnu/libFoo2",
            "payments-api-6d4cf56db6-x7v2p",
            "GetObjectVersionForReplication",
            "2026-11-23T14-02-10Z-backup-prod",
            "ForkJoinPoolWorker12Thread3Queue",
            "10Jan11Jan12Jan13Jan14Jan",
            "KafkaConsumer2ListenerContainer4",
        ] {
            assert!(!is_random(plain), "{plain}");
        }
    }
}

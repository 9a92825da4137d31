//! Keeps secrets that stood on a screen out of what is said about it.
//!
//! Works on text, by the shapes secrets have and the words that stand before
//! them; a secret without either is not known for one. Forgives what OCR does:
//! an underscore may have been read as a space. What is masked keeps its first
//! four characters where they only tell the kind of secret.

use std::borrow::Cow;
use std::sync::LazyLock;

use regex::{Captures, Regex};

const MASK: &str = "…(masked)";

/// Tokens that tell by themselves what they are; the first four characters
/// are the same for all of a kind.
static TOKENS: LazyLock<Regex> = LazyLock::new(|| {
    let kinds = [
        // AWS access key ids
        r"\b(?:AKIA|ASIA|ABIA|ACCA)[0-9A-Za-z]{12,20}",
        // GitHub, GitLab, npm, Hugging Face, DigitalOcean, Stripe
        r"\bgh[pousr][_ ][0-9A-Za-z]{20,}",
        r"\bgithub[_ ]pat[_ ][0-9A-Za-z_]{20,}",
        r"\bglpat-[0-9A-Za-z_-]{16,}",
        r"\bnpm[_ ][0-9A-Za-z]{30,}",
        r"\bhf[_ ][0-9A-Za-z]{30,}",
        r"\bdop[_ ]v1[_ ][0-9a-f]{40,}",
        r"\b[spr]k[_ ](?:live|test)[_ ][0-9A-Za-z]{16,}",
        // Slack
        r"\bxox[abeoprs]-[0-9A-Za-z-]{10,}",
        r"hooks\.slack\.com/services/[0-9A-Za-z/]{20,}",
        // OpenAI and those who took its form
        r"\bsk-[0-9A-Za-z_-]{16,}",
        // Google
        r"\bAIza[0-9A-Za-z_-]{30,}",
        r"\bAQ\.[0-9A-Za-z_-]{20,}",
        r"\bGOCSPX-[0-9A-Za-z_-]{20,}",
        r"\bya29\.[0-9A-Za-z_-]{20,}",
        // JSON web tokens (RFC 7519)
        r"\beyJ[0-9A-Za-z_-]{8,}\.[0-9A-Za-z_-]{4,}(?:\.[0-9A-Za-z_-]*)?",
    ];
    Regex::new(&kinds.join("|")).expect("the patterns are valid")
});

/// A value behind words that say it is secret: `$before` stays.
static VALUES: LazyLock<[Regex; 6]> = LazyLock::new(|| {
    let names = "passwords?|passwd|passphrase|pwd|pass|secret|secret[_ -]?key|client[_ -]?secret|token|auth[_ -]?token|access[_ -]?token|api[_ -]?key|apikey|private[_ -]?key|access[_ -]?key|account[_ -]?key|shared[_ -]?access[_ -]?key|aws[_ ]secret[_ ]access[_ ]key|connection[_ -]?string";
    let patterns = [
        // AWS_SECRET_ACCESS_KEY, whatever OCR made of the marks in it
        r"(?i)(?P<before>aws\W{0,3}secret\W{0,3}access\W{0,3}key\W{1,4})(?P<value>[0-9A-Za-z+/][0-9A-Za-z+/ ]{7,})".to_owned(),
        // DB_PASSWORD=x, "token": "x", client_secret: x
        format!(r#"(?i)(?P<before>(?:{names})["']?\s*(?:=|:)\s*["']?)(?P<value>[^\s"',;&]{{4,}})"#),
        // --password x, --token=x
        format!(r#"(?i)(?P<before>--?(?:[a-z]+-)*(?:{names})[ =]["']?)(?P<value>[^\s"']{{3,}})"#),
        // mysql -px, sshpass -p 'x', curl -u user:x
        r#"(?P<before>\b(?:mysql|mysqldump|mariadb|sshpass|psql)\b[^|;]*?\s-p\s?["']?)(?P<value>[^\s"'-][^\s"']{2,})"#.to_owned(),
        r#"(?i)(?P<before>\bcurl\b[^|;]*?\s(?:-u|--user)[ =]["']?[^\s:"']+:)(?P<value>[^\s"']{3,})"#.to_owned(),
        // https://user:x@host and Authorization: Bearer x
        r"(?i)(?P<before>[a-z][a-z0-9+.-]*://[^\s:/@]+:|\b(?:bearer|basic)\s+)(?P<value>[^\s@/]{3,}@|[0-9A-Za-z._~+/=-]{16,})".to_owned(),
    ];
    patterns.map(|pattern| Regex::new(&pattern).expect("the patterns are valid"))
});

/// What stands between the lines of a PEM block (RFC 7468), or what one line
/// of a screen shows of it.
static PEM: LazyLock<Regex> = LazyLock::new(|| {
    let pattern = r"(?s)(?P<before>-{3,}\s?BEGIN[A-Z ]*PRIVATE KEY\s?-{3,}\s*)(?P<value>[0-9A-Za-z+/=\s]{8,})";
    Regex::new(pattern).expect("the pattern is valid")
});

/// The text without the secrets in it. Masking twice changes nothing.
pub fn mask_secrets(text: &str) -> Cow<'_, str> {
    let mut masked = TOKENS.replace_all(text, |found: &Captures<'_>| {
        let kind: String = found[0].chars().take(4).collect();
        format!("{kind}{MASK}")
    });
    for pattern in VALUES.iter().chain([&*PEM]) {
        let replaced = pattern.replace_all(&masked, |found: &Captures<'_>| {
            // A URL's password ends before its host.
            let host = if found["value"].ends_with('@') {
                "@"
            } else {
                ""
            };
            format!("{}{MASK}{host}", &found["before"])
        });
        if let Cow::Owned(replaced) = replaced {
            masked = Cow::Owned(replaced);
        }
    }
    masked
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_masked_and_what_is_around_them_stays() {
        let cases = [
            (
                "AWS_ACCESS_KEY_ID=AKIAIOSFODNN7EXAMPLE",
                "AWS_ACCESS_KEY_ID=AKIA…(masked)",
            ),
            (
                "aws_secret_access_key = wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
                "aws_secret_access_key = …(masked)",
            ),
            (
                "aws secret access key = wJalrXUtnFEMI/K7MDENG",
                "aws secret access key = …(masked)",
            ),
            (
                "AWS SECRET-ACCESS KEY-WJaL XUAFMI/K7MDENG/bPXRFICYEXAMPLKEY",
                "AWS SECRET-ACCESS KEY-…(masked)",
            ),
            (
                "remote: ghp_16C7e42F292c6912E7710c838347Ae178B4a ok",
                "remote: ghp_…(masked) ok",
            ),
            (
                "remote: ghp 16C7e42F292c6912E7710c838347Ae178B4a",
                "remote: ghp …(masked)",
            ),
            (
                "export OPENAI=sk-proj-abcdefghij0123456789",
                "export OPENAI=sk-p…(masked)",
            ),
            (
                "key AIzaSyA1234567890abcdefghijklmnopqrstuvw",
                "key AIza…(masked)",
            ),
            ("xoxb-123456789012-abcdefGHIJ", "xoxb…(masked)"),
            (
                "Authorization: Bearer eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.abc_def",
                "Authorization: Bearer eyJh…(masked)",
            ),
            (
                "authorization: bearer 0123456789abcdef0123",
                "authorization: bearer …(masked)",
            ),
            (
                "postgres://app:hunter2@db.example/prod",
                "postgres://app:…(masked)@db.example/prod",
            ),
            (
                "mysql -u root -phunter2 prod",
                "mysql -u root -p…(masked) prod",
            ),
            (
                "curl -u admin:hunter2 https://x.example",
                "curl -u admin:…(masked) https://x.example",
            ),
            (
                "tool --password hunter2 --verbose",
                "tool --password …(masked) --verbose",
            ),
            ("DB_PASSWORD=hunter2;x", "DB_PASSWORD=…(masked);x"),
            ("{\"token\": \"abcd1234\"}", "{\"token\": \"…(masked)\"}"),
            (
                "-----BEGIN RSA PRIVATE KEY----- MIIEpAIBAAKCAQEA7",
                "-----BEGIN RSA PRIVATE KEY----- …(masked)",
            ),
        ];
        for (text, masked) in cases {
            assert_eq!(mask_secrets(text), masked);
            assert_eq!(mask_secrets(masked), masked, "twice");
        }
    }

    #[test]
    fn plain_words_stay() {
        for text in [
            "Failed password for admin from 203.0.113.45 port 51502 ssh2",
            "Root account has no MFA device",
            "tokens/min 48,210 (+820% vs baseline)",
            "Password policy requires 14 characters",
            "sk-learn and ask-me are no keys",
            "https://siem.example/search?view=authentication",
            "2026-11-23T14:02:10Z",
        ] {
            assert!(
                matches!(mask_secrets(text), Cow::Borrowed(_)),
                "{text} -> {}",
                mask_secrets(text)
            );
        }
    }
}

//! Secrets in URLs: a password before the host, and tokens in the path, query
//! or fragment.

use std::ops::Range;
use std::sync::LazyLock;

use regex::Regex;

use super::kinds::is_random;
use super::value::{LetterMix, is_strong};

/// Parameters that are named as credentials.
const OPENS: &str = "access[_-]?token|refresh[_-]?token|id[_-]?token|auth[_-]?token|token|tok|otp|passcode|pass(?:word|wd)?|pwd|secret|client[_-]?secret|api[_-]?key|apikey|sig|signature|x-amz-signature|x-goog-signature|x-amz-security-token|jwt|ticket|magic|auth|authkey|resourcekey|invite[_-]?code|reset[_-]?code|share[_-]?key|sharekey|rlkey|sv_sig";
/// Ambiguous parameters, whose value must look like a credential too.
const MAY_OPEN: &str = "code|key|session|session[_-]?id|sid|hash|invite|share|credential";
/// Generic parameters, whose value is a credential only with mixed case and
/// digits.
const NAMES: &str = "id|k|t|s|c|link|state|nonce";
/// Path segments that precede a secret.
const LEADS: &str = "reset|reset[_-]?password|password[_-]?reset|passwordreset|forgot|invite|invites|invitation|invitations|join|magic|magic[_-]?link|verify|verification|confirm|confirmation|activate|activation|unlock|share|shares|shared|sharing|unsubscribe|recover|recovery|set[_-]?password|accept|onboard|claim|redeem|login|sso|webhook|webhooks|hook|hooks|incoming";
const MAY_LEAD: &str = "s|d|l|f|u|r|p|x|t|g|get|e|v|dl|sh|scl|fo|fi|b|n|link|links|public|guest|view|file|files|folders|download|document|room|board|doc|w|send|drop|paste|raw";

static SCHEME: &str = r"[a-z][a-z0-9+.-]{1,20}\s?[:;]\s?/\s?/\s?";

static USER: LazyLock<Regex> = LazyLock::new(|| {
    pattern(&format!(
        r"{SCHEME}[^\s:;/@]*\s?[:;]\s?(?P<value>[^\s@]+(?: [^\s@]+)?)\s?@\s?[a-z0-9\[]"
    ))
});
/// User and password without a scheme, which OCR lost; a port or path must
/// follow.
static BARE_USER: LazyLock<Regex> = LazyLock::new(|| {
    pattern(
        r"(?:^|[\s/'(=])[a-z_][\w.-]*:(?P<value>[^\s@:/]{5,})@[a-z0-9-]+(?:\.[a-z0-9-]+)*(?::[0-9]{2,5}|/[a-z0-9])",
    )
});
static PARAMETER: LazyLock<Regex> = LazyLock::new(|| {
    pattern(&format!(
        r#"[?&#;]\s?(?:{OPENS})\s?=\s?(?P<value>[^\s&#"'<>,;)]{{3,}})"#
    ))
});
static MAYBE: LazyLock<Regex> = LazyLock::new(|| {
    pattern(&format!(
        r#"[?&#;]\s?(?:{MAY_OPEN})\s?=\s?(?P<value>[^\s&#"'<>,;)]{{4,}})"#
    ))
});
static NAMED: LazyLock<Regex> = LazyLock::new(|| {
    pattern(&format!(
        r#"[?&#;]\s?(?:{NAMES})\s?=\s?(?P<value>[0-9a-z_-]{{10,}})(?:[^0-9a-z_+%-]|$)"#
    ))
});
/// `reset?code=`, even with the separator misread.
static LEADING: LazyLock<Regex> = LazyLock::new(|| {
    pattern(&format!(
        r#"\b(?:{LEADS})/?\s?[?7&#]\s?(?:[a-z_]{{1,12}}=[^\s&]*&)*(?:{MAY_OPEN}|{OPENS}|{NAMES})\s?=\s?(?P<value>[^\s&#"'<>,;)]{{3,}})"#
    ))
});
static PATH: LazyLock<Regex> = LazyLock::new(|| {
    pattern(&format!(
        r"[a-z0-9-]+\.[a-z0-9.-]+(?::[0-9]+)?(?:/[^\s/?#]+)*?/\s?(?:{LEADS})(?:[_-][a-z]{{2,12}})?/\s?(?P<value>[0-9a-z_~.%-]{{6,}}(?:/[0-9a-z_~.%-]{{6,}})*)"
    ))
});
static MAYBE_PATH: LazyLock<Regex> = LazyLock::new(|| {
    pattern(&format!(
        r"[a-z0-9-]+\.[a-z0-9.-]+(?::[0-9]+)?(?:/[^\s/?#]+)*?/\s?(?:{MAY_LEAD})/\s?(?P<value>[0-9a-z_~-]{{8,}})"
    ))
});
/// Fragment with the decryption key, as in links of which the server never sees
/// that part.
static FRAGMENT: LazyLock<Regex> =
    LazyLock::new(|| pattern(r"https?\s?[:;]\s?//[^\s#]+#(?P<value>[0-9a-z_~=+/-]{12,})"));

fn pattern(text: &str) -> Regex {
    Regex::new(&format!("(?i){text}")).expect("the pattern is valid")
}

/// Pattern, its kind, and an additional condition on its value.
type Way<'a> = (&'a Regex, &'static str, fn(&str) -> bool);

/// Secrets of URLs in a text, with their kind.
pub(super) fn values(text: &str) -> Vec<(Range<usize>, &'static str)> {
    if !text.contains(['/', '=', '@']) {
        return Vec::new();
    }
    let ways: [Way<'_>; 9] = [
        (&USER, "password", |value| {
            !is_port(value) && !is_covered(value)
        }),
        (&BARE_USER, "password", |value| {
            is_strong(value) && !is_covered(value)
        }),
        (&PARAMETER, "token in a link", |value| {
            !is_covered(value) && !is_word(value)
        }),
        (&LEADING, "token in a link", |value| !is_covered(value)),
        (&MAYBE, "token in a link", |value| {
            opens(value) && !value.contains('+')
        }),
        (&NAMED, "token in a link", |value| {
            opens(value) && is_mixed(value)
        }),
        (&PATH, "token in a link", opens),
        (&MAYBE_PATH, "token in a link", |value| {
            opens(value) && is_mixed(value)
        }),
        (&FRAGMENT, "token in a link", |value| {
            opens(value) && is_mixed(value)
        }),
    ];
    let mut found = Vec::new();
    for (pattern, kind, also) in ways {
        for hit in pattern.captures_iter(text) {
            let value = hit.name("value").filter(|value| also(value.as_str()));
            found.extend(value.map(|value| (value.range(), kind)));
        }
    }
    found
}

fn is_covered(value: &str) -> bool {
    super::value::is_covered(value)
        || value.contains("[masked")
        || value.starts_with(['{', '<', '$'])
}

/// True for a port, as in `http://host:8080/path@x`.
fn is_port(value: &str) -> bool {
    let digits = value.trim_start_matches(|c: char| c.is_ascii_digit());
    digits.len() < value.len() && (digits.is_empty() || digits.starts_with('/'))
}

/// True for a flag or a type name, as in `token=bearer`.
fn is_word(value: &str) -> bool {
    super::value::is_stop(value)
}

/// True for letters and digits that make no words.
fn opens(value: &str) -> bool {
    let mix = LetterMix::of(value);
    let is_uuid = value.len() == 36 && value.matches('-').count() == 4 && mix.digits > 3;
    !is_covered(value)
        && mix.all >= 6
        && (is_uuid
            || is_random(value)
            || (mix.digits > 0 && mix.letters() > 1 && mix.turns * 4 >= mix.all)
            || (mix.all >= 16 && mix.digits > 2 && mix.letters() > 2))
}

/// True for mixed case with digits, unlike slugs and versions.
fn is_mixed(value: &str) -> bool {
    let mix = LetterMix::of(value);
    mix.upper > 0 && mix.lower > 0 && mix.digits > 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hidden(text: &str) -> Vec<&str> {
        let mut found: Vec<_> = values(text)
            .into_iter()
            .map(|(range, _)| &text[range])
            .collect();
        found.dedup();
        found
    }

    #[test]
    fn what_opens_an_address_is_found() {
        for (text, value) in [
            ("postgres ://admin:hunter2Pass@db.internal", "hunter2Pass"),
            (
                "postgres://admin: hunter2Pass @db.internal/orders",
                "hunter2Pass",
            ),
            ("redis://:Tulip-77@cache:6379", "Tulip-77"),
            ("admin:hunter2Pass@db.internal:5432/orders", "hunter2Pass"),
            ("https://id.example/reset?code=4821XK", "4821XK"),
            ("https://id.example/reset7code=4821XK", "4821XK"),
            ("https://drive.example/s/kT9vQ2mX7pL4", "kT9vQ2mX7pL4"),
            ("https://app.example/invite/7hq2-k9xw", "7hq2-k9xw"),
            ("https://x.example/a?sig=abcDEF123&se=2026", "abcDEF123"),
            ("https://zoom.example/j/8123?pwd=Zm9vYmFy", "Zm9vYmFy"),
            (
                "https://send.example/download/77#kT9vQ2mX7pL4wZ",
                "kT9vQ2mX7pL4wZ",
            ),
        ] {
            assert!(hidden(text).contains(&value), "{text}: {:?}", hidden(text));
        }
    }

    #[test]
    fn addresses_that_anybody_may_know_stay() {
        for text in [
            "https://siem.example/search?view=authentication",
            "http://host:8080/users/@ana",
            "https://git.example/org/repo/pull/4821",
            "https://docs.example/files/release-notes-2024",
            "ana@web-01:~$ curl https://api.example/healthz",
            "https://grafana.example/d/orders-overview/orders?orgId=1",
            "https://shop.example/view/product-12345678",
            "GET /item?id=1+UNION+SELECT+user,pass+FROM+users HTTP/1.1",
            "mailto:john.doe2@corp.example",
            "GET /callback?state=ready&code=200 HTTP/1.1",
        ] {
            assert_eq!(hidden(text), [""; 0], "{text}");
        }
    }
}

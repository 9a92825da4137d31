//! Names of streams.

use std::fmt;
use std::sync::Arc;

/// Name of a stream in URLs, logs, metrics and findings.
///
/// 1 to 64 characters of `A-Z a-z 0-9 . _ -`, not starting with a dot, so that
/// it is safe in a path, a label and a terminal without escaping.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StreamName(Arc<str>);

/// Error of a text that is no stream name. The text itself is left out: a
/// publisher with a mistyped URL may have put the stream key there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("stream name must be 1 to 64 characters of A-Z a-z 0-9 . _ - and not start with a dot")]
pub struct InvalidStreamName;

impl StreamName {
    pub fn new(name: &str) -> Result<Self, InvalidStreamName> {
        let fits = (1..=64).contains(&name.len())
            && !name.starts_with('.')
            && name
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'));
        if fits {
            Ok(Self(name.into()))
        } else {
            Err(InvalidStreamName)
        }
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for StreamName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for StreamName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stream_names_are_safe_in_a_path() {
        for good in ["team", "Team-1", "a", "x_y.z", &"a".repeat(64)] {
            assert_eq!(StreamName::new(good).expect("valid").as_str(), good);
        }
        for bad in [
            "",
            ".",
            "..",
            ".hidden",
            "a/b",
            "a b",
            "ä",
            "a\n",
            &"a".repeat(65),
        ] {
            assert_eq!(StreamName::new(bad), Err(InvalidStreamName), "{bad:?}");
        }
    }
}

//! Human-readable texts: counts with their nouns.

use std::fmt::Display;

/// Number with its noun, in the plural unless the number is 1: "1 finding",
/// "2 findings". The plural is formed with an s.
pub fn counted<N>(count: N, noun: &str) -> String
where
    N: Copy + Display + PartialEq + From<u8>,
{
    let ending = if count == N::from(1) { "" } else { "s" };
    format!("{count} {noun}{ending}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_is_in_the_singular() {
        assert_eq!(counted(0_usize, "finding"), "0 findings");
        assert_eq!(counted(1_usize, "finding"), "1 finding");
        assert_eq!(counted(2_u64, "OCR run"), "2 OCR runs");
        assert_eq!(counted(21_u32, "more event"), "21 more events");
        assert_eq!(counted(-1_i64, "day"), "-1 days");
    }
}

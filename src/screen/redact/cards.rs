//! Card numbers. A match needs an issuer range, and regular grouping, a valid
//! check digit or payment words nearby: many rows of digits meet one of these
//! alone.

use std::ops::Range;
use std::sync::LazyLock;

use regex::Regex;

/// Digits in one run or in groups of a card number's size, with letters that
/// OCR confuses with digits.
static GROUPS: LazyLock<Regex> = LazyLock::new(|| {
    let digit = "[0-9OolIS]";
    let pattern = format!(
        "{digit}{{4}}(?:[ ._-]{{0,2}}{digit}{{4}}){{3}}|{digit}{{4}}[ -]{{1,2}}{digit}{{6}}[ -]{{1,2}}{digit}{{4,5}}|[0-9]{{13,19}}|[0-9](?:[ -]?[0-9]){{12,18}}"
    );
    Regex::new(&pattern).expect("the pattern is valid")
});
/// Payment terms, in the languages in which they differ.
static CONTEXT: LazyLock<Regex> = LazyLock::new(|| {
    let pattern = r"(?i)card|\bpan\b|visa|master|amex|american express|discover|maestro|payment|charged|checkout|cvv|cvc|kredit|zahlung|carte|paiement|tarjeta|pago|cart[aã]o|pagamento|carta di|karta|karty|kaart|kort\b|карт|卡号|卡號|信用卡|カード|카드|kartu|kart[ıi]|thẻ|بطاقة|कार्ड";
    Regex::new(pattern).expect("the pattern is valid")
});

/// Card numbers in a text.
pub(super) fn values(text: &str) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let mut from = 0;
    while let Some(hit) = GROUPS.find_at(text, from) {
        from = hit.end();
        if is_card(text, hit.range()) {
            found.push(hit.range());
        } else {
            // Digits before the card number may have matched as its first
            // group.
            let group = hit.as_str().find([' ', '-', '.']).unwrap_or(hit.len());
            from = hit.start() + group.max(1);
        }
    }
    found
}

fn is_card(text: &str, range: Range<usize>) -> bool {
    let written = &text[range.clone()];
    let digits = digits(written);
    let read = written.chars().filter(char::is_ascii_digit).count();
    if !issued(&digits) || read * 4 < digits.len() * 3 || !stands_alone(text, &range) {
        return false;
    }
    // OCR sometimes reads a blank between quotes or boxes as an underscore.
    let signs = written.chars().filter(|c| !c.is_alphanumeric());
    let signs: Vec<_> = signs.map(|c| if c == '_' { ' ' } else { c }).collect();
    let grouped = !signs.is_empty();
    let context = CONTEXT.is_match(&text[..range.start]) || CONTEXT.is_match(&text[range.end..]);
    let regular = signs.windows(2).all(|pair| pair[0] == pair[1]) && !is_series(written);
    match (luhn(&digits), grouped) {
        (true, true) => regular || context,
        (true, false) => context || matches!(digits.len(), 15 | 16),
        // Wrong check digit: one digit may be misread.
        (false, true) => context && regular,
        (false, false) => false,
    }
}

/// Digits of a text; letters that OCR confuses with digits count as those.
fn digits(text: &str) -> Vec<u32> {
    let digit = |c: char| match c {
        'O' | 'o' => Some(0),
        'l' | 'I' => Some(1),
        'S' => Some(5),
        c => c.to_digit(10),
    };
    text.chars().filter_map(digit).collect()
}

/// Issuer ranges of the card networks, with their number lengths (ISO/IEC
/// 7812-1).
fn issued(digits: &[u32]) -> bool {
    let start = |count: usize| {
        digits
            .iter()
            .take(count)
            .fold(0, |all, digit| all * 10 + digit)
    };
    let (two, three, four) = (start(2), start(3), start(4));
    match digits.len() {
        13 | 19 => two / 10 == 4 || (digits.len() == 19 && two == 62),
        14 => matches!(three, 300..=305) || matches!(two, 36 | 38 | 39),
        15 => matches!(two, 34 | 37),
        16 => {
            two / 10 == 4
                || matches!(two, 51..=55 | 62 | 65)
                || matches!(four, 2221..=2720 | 3528..=3589 | 6011)
                || matches!(three, 644..=649)
        }
        17 | 18 => two == 62,
        _ => false,
    }
}

/// True without further digits next to it: a row of numeric columns is no card.
fn stands_alone(text: &str, range: &Range<usize>) -> bool {
    let figure = |c: char| c.is_ascii_digit();
    let near = |c: char| !c.is_alphanumeric();
    let before = text[..range.start].trim_end_matches(|c| near(c) && c != '"' && c != '\'');
    let behind = text[range.end..].trim_start_matches(|c| near(c) && c != '"' && c != '\'');
    let joined = |c: Option<char>| c.is_some_and(figure);
    let ends =
        joined(text[..range.start].chars().next_back()) || joined(text[range.end..].chars().next());
    let spaced = text[range.clone()].contains([' ', '.']);
    let beside = joined(before.chars().next_back()) || joined(behind.chars().next());
    // An expiry date such as 09/27 may follow.
    let expiry = {
        let rest: String = behind.chars().take(5).collect();
        rest.len() == 5 && rest.as_bytes()[2] == b'/'
    };
    !ends && (!spaced || !beside || expiry)
}

/// True for round numbers or even steps, which are axis labels of a chart.
fn is_series(text: &str) -> bool {
    let groups: Vec<i64> = text
        .split(|c: char| !c.is_alphanumeric())
        .filter_map(|group| group.parse().ok())
        .collect();
    let steps: Vec<_> = groups.windows(2).map(|pair| pair[1] - pair[0]).collect();
    let even = steps.len() > 1 && steps[0] != 0 && steps.windows(2).all(|pair| pair[0] == pair[1]);
    let round = groups.len() > 2 && groups.iter().all(|group| group % 50 == 0);
    even || round
}

/// Luhn check (ISO/IEC 7812-1, annex B).
fn luhn(digits: &[u32]) -> bool {
    let sum: u32 = digits
        .iter()
        .rev()
        .enumerate()
        .map(|(at, digit)| match (at % 2, digit * 2) {
            (0, _) => *digit,
            (_, double) if double > 9 => double - 9,
            (_, double) => double,
        })
        .sum();
    sum.is_multiple_of(10)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hidden(text: &str) -> Vec<&str> {
        values(text).into_iter().map(|range| &text[range]).collect()
    }

    #[test]
    fn cards_are_known_by_issuer_grouping_and_sum() {
        for (text, card) in [
            ("4111 1111 1111 1111", "4111 1111 1111 1111"),
            ("4111 11111111 1111", "4111 11111111 1111"),
            ("card 4111-1111-1111-1112 declined", "4111-1111-1111-1112"),
            ("test_card: 5555555555554444", "5555555555554444"),
            ("grep '4111 1111_1111 1111'/log", "4111 1111_1111 1111"),
            ("3782 822463 10005", "3782 822463 10005"),
            ("paid with 4lll 1111 1111 1111 09/27", "4lll 1111 1111 1111"),
        ] {
            assert_eq!(hidden(text), [card], "{text}");
        }
    }

    #[test]
    fn other_figures_are_none() {
        for text in [
            "1288 4111 1111 1111 1111 R 0.7",
            "4000 5000 6000 7000",
            "4801 4802 4803 4804",
            "1732835522123456",
            "5812 4812 3120 4800",
            "3000 3500 4000 4500",
            "4096 2048 1024 4128",
            "seq 9007199254740993",
        ] {
            assert_eq!(hidden(text), [""; 0], "{text}");
        }
    }
}

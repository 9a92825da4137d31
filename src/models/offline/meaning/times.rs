//! Times and spans of time, which name nothing.

use watchtower_screen::layout::ElementText;

use super::words::words;

/// Words of times and spans of time, without months and weekdays.
const TIME_WORDS: [&str; 42] = [
    "s",
    "sec",
    "secs",
    "second",
    "seconds",
    "m",
    "min",
    "mins",
    "minute",
    "minutes",
    "h",
    "hr",
    "hrs",
    "hour",
    "hours",
    "d",
    "day",
    "days",
    "w",
    "week",
    "weeks",
    "mo",
    "month",
    "months",
    "y",
    "year",
    "years",
    "ago",
    "for",
    "since",
    "in",
    "about",
    "over",
    "last",
    "at",
    "on",
    "am",
    "pm",
    "utc",
    "today",
    "yesterday",
    "tomorrow",
];
/// Months and weekdays.
const CALENDAR: [&str; 19] = [
    "january",
    "february",
    "march",
    "april",
    "may",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
    "monday",
    "tuesday",
    "wednesday",
    "thursday",
    "friday",
    "saturday",
    "sunday",
];

/// True for a time or a span of time: "Aug 5, 16:18", "for 25 days".
pub(super) fn is_time(text: &str) -> bool {
    let all = words(text);
    let digit = |c: char| c.is_ascii_digit();
    let is_part = |word: &str| {
        let unit = word.trim_start_matches(digit);
        let named = word.len() >= 3 && CALENDAR.iter().any(|name| name.starts_with(word));
        unit.is_empty() || TIME_WORDS.contains(&unit) || named
    };
    let numbers = all.iter().filter(|word| word.text.contains(digit));
    numbers.count() > 0 && all.iter().all(|word| is_part(&word.text))
}

/// True for a time of day, as events have.
pub(super) fn is_clock(text: &ElementText) -> bool {
    text.text.contains(':') && is_time(&text.text)
}

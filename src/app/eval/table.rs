//! Human-readable table of the scores.

use std::fmt;

use watchtower_base::text::counted;

use super::score::{Marks, Scores};

impl fmt::Display for Scores {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{:.1} s: {}, {}, {} with changes; {} in {}\n",
            self.seconds,
            counted(self.pictures, "frame"),
            counted(self.readings, "OCR run"),
            self.news,
            counted(self.all.findings, "finding"),
            counted(self.incidents, "incident")
        )?;
        writeln!(
            f,
            "{:<10} {:>8} {:>5} {:>5} {:>7} {:>9} {:>6} {:>9} {:>8} {:>7} {:>5} {:>8} {:>9}",
            "agent",
            "findings",
            "right",
            "wrong",
            "healthy",
            "precision",
            "recall",
            "to detect",
            "longest",
            "repeats",
            "sent",
            "tokens",
            "ungrounded"
        )?;
        for marks in self.agents.iter().chain([&self.all]) {
            row(f, marks)?;
        }
        let sent = &self.all.sent;
        writeln!(
            f,
            "\nA hosted model would be sent {} and about {}; every {:.0} s they \
             were {} and {} ({}).",
            counted(sent.frames, "picture"),
            counted(sent.tokens, "token"),
            self.interval_seconds,
            sent.frames_at_intervals,
            sent.tokens_at_intervals,
            fewer(sent.frames, sent.frames_at_intervals)
        )?;
        writeln!(
            f,
            "With tables as rows and values with their labels they are {}; with plain \
             lines of text {} ({}).",
            counted(sent.tokens_structured, "token"),
            sent.tokens_plain,
            difference(sent.tokens_plain, sent.tokens_structured)
        )?;
        list(f, "Missed", &self.missed)?;
        list(f, "False or not labelled", &self.false_findings)
    }
}

fn row(f: &mut fmt::Formatter<'_>, marks: &Marks) -> fmt::Result {
    writeln!(
        f,
        "{:<10} {:>8} {:>5} {:>5} {:>7} {:>9} {:>6} {:>9} {:>8} {:>7} {:>5} {:>8} {:>9}",
        marks.agent,
        marks.findings,
        marks.right,
        marks.wrong,
        marks.on_healthy,
        percent(marks.precision),
        percent(marks.recall),
        seconds(marks.seconds_to_detect),
        seconds(marks.longest_to_detect),
        marks.duplicates,
        marks.sent.frames,
        marks.sent.tokens,
        marks.ungrounded,
    )
}

fn list(f: &mut fmt::Formatter<'_>, what: &str, items: &[String]) -> fmt::Result {
    if items.is_empty() {
        return Ok(());
    }
    writeln!(f, "\n{what}:")?;
    items.iter().try_for_each(|item| writeln!(f, "  {item}"))
}

fn percent(share: Option<f64>) -> String {
    share.map_or_else(|| "-".to_owned(), |share| format!("{:.0} %", share * 100.0))
}

fn seconds(seconds: Option<f64>) -> String {
    seconds.map_or_else(|| "-".to_owned(), |seconds| format!("{seconds:.1} s"))
}

/// Difference of a value to a base, in per cent.
fn difference(value: u64, base: u64) -> String {
    if base == 0 {
        return "nothing to compare with".to_owned();
    }
    let share = 100.0 * value as f64 / base as f64 - 100.0;
    match share {
        share if share.abs() < 0.05 => "the same".to_owned(),
        share if share < 0.0 => format!("{:.1} % fewer", -share),
        share => format!("{share:.1} % more"),
    }
}

fn fewer(sent: u64, at_intervals: u64) -> String {
    if at_intervals == 0 {
        return "nothing to compare with".to_owned();
    }
    let share = 100.0 - 100.0 * sent as f64 / at_intervals as f64;
    if share < 0.0 {
        format!("{:.0} % more", -share)
    } else {
        format!("{share:.0} % fewer pictures")
    }
}

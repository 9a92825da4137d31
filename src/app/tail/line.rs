//! Entry as text: coloured and clipped for a terminal, whole for a pipe.

use std::fmt::Write as _;

use anstyle::{Ansi256Color, AnsiColor, Color, Style};
use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

use watchtower_domain::finding::{Severity, printable};

use super::entry::{EntryKind, LogEntry};

/// Narrowest terminal that lines are clipped to.
const NARROWEST: usize = 20;
/// Columns of an analyst's name, where several are shown.
const NAME: usize = 10;

/// Style of the lines.
#[derive(Debug, Clone, Copy)]
pub(super) struct LineStyle {
    /// Columns of the terminal; none for other output, which gets whole lines
    /// with whole times.
    pub(super) width: Option<usize>,
    /// True if each line names its analyst.
    pub(super) named: bool,
    /// True if quotes, detail and action follow each line.
    pub(super) details: bool,
}

impl LineStyle {
    /// Lines of an entry, with ANSI colours.
    pub(super) fn text(self, analyst: &str, entry: &LogEntry) -> String {
        let dim = Style::new().dimmed();
        let plain = Style::new();
        let mut parts = match self.width {
            Some(_) => vec![(dim, entry.at.strftime("%H:%M:%S ").to_string())],
            None => vec![(plain, entry.at.strftime("%Y-%m-%dT%H:%M:%SZ ").to_string())],
        };
        let (style, badge) = badge(&entry.kind);
        parts.push((style, format!(" {badge:<10} ")));
        parts.push((plain, " ".to_owned()));
        if self.named {
            parts.push((plain.bold(), format!("{:<NAME$} ", printable(analyst))));
        }
        let title = match entry.kind {
            EntryKind::Finding(Severity::Critical | Severity::High) => plain.bold(),
            EntryKind::Finding(_) => plain,
            EntryKind::Repeat | EntryKind::Remark => dim,
        };
        parts.push((title, printable(&entry.text).into_owned()));
        if let Some(count) = &entry.count {
            parts.push((dim, format!(" ×{}", printable(count))));
        }
        if let Some(stream) = &entry.stream {
            parts.push((dim, format!(" · {}", printable(stream))));
        }
        let mut text = self.line(&parts);
        if self.details {
            for detail in &entry.details {
                text += &self.line(&[(dim, format!("    {}", printable(detail)))]);
            }
        }
        text
    }

    fn line(self, parts: &[(Style, String)]) -> String {
        let width = self.width.map_or(usize::MAX, |width| width.max(NARROWEST));
        let whole: usize = parts.iter().map(|(_, text)| text.width()).sum();
        // The mark of what is missing takes a column.
        let mut left = if whole <= width { width } else { width - 1 };
        let mut line = String::new();
        for (style, text) in parts {
            let kept = clipped(text, left);
            let clips = kept.len() < text.len();
            // Writing to a String does not fail.
            let _ = write!(
                line,
                "{style}{kept}{}{style:#}",
                if clips { "…" } else { "" }
            );
            if clips {
                break;
            }
            left -= kept.width();
        }
        line + "\n"
    }
}

/// Start of a text that fills at most so many columns.
fn clipped(text: &str, columns: usize) -> &str {
    let mut used = 0;
    for (at, letter) in text.char_indices() {
        used += letter.width().unwrap_or(0);
        if used > columns {
            return &text[..at];
        }
    }
    text
}

/// Badge of an entry. Levels differ by shape and word too.
fn badge(kind: &EntryKind) -> (Style, &'static str) {
    let colour = |number| Style::new().fg_color(Some(Color::Ansi256(Ansi256Color(number))));
    match kind {
        EntryKind::Finding(Severity::Critical) => {
            let white = Color::Ansi(AnsiColor::BrightWhite);
            let red = Color::Ansi256(Ansi256Color(160));
            let style = Style::new().fg_color(Some(white)).bg_color(Some(red));
            (style.bold(), "■ CRITICAL")
        }
        EntryKind::Finding(Severity::High) => (colour(214).bold(), "▲ HIGH"),
        EntryKind::Finding(Severity::Medium) => (colour(229), "◆ MEDIUM"),
        EntryKind::Finding(Severity::Low) => (colour(75), "● LOW"),
        EntryKind::Finding(Severity::Info) => (colour(245), "- INFO"),
        EntryKind::Repeat => (Style::new().dimmed(), "  repeat"),
        EntryKind::Remark => (Style::new().dimmed(), "  --"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finding(severity: Severity, title: &str) -> LogEntry {
        LogEntry {
            at: "2026-11-23T09:14:05Z".parse().unwrap(),
            kind: EntryKind::Finding(severity),
            text: title.to_owned(),
            stream: Some("team".to_owned()),
            count: None,
            incident: None,
            details: vec!["> a quote".to_owned()],
        }
    }

    fn text(width: Option<usize>, named: bool, details: bool, entry: &LogEntry) -> String {
        let style = LineStyle {
            width,
            named,
            details,
        };
        anstream::adapter::strip_str(&style.text("SecOps", entry)).to_string()
    }

    #[test]
    fn pipe_gets_whole_lines_with_whole_times() {
        let entry = finding(Severity::High, &"long ".repeat(50));
        let line = text(None, true, true, &entry);
        let expected = format!(
            "2026-11-23T09:14:05Z  ▲ HIGH      SecOps     {} · team\n    > a quote\n",
            "long ".repeat(50)
        );
        assert_eq!(line, expected);
    }

    #[test]
    fn terminal_gets_one_line_of_its_width() {
        for title in [
            "Login succeeded after a burst of failures",
            "登录失败次数过多，账户已被锁定，请检查来源地址",
            "e\u{301}e\u{301}e\u{301} combining marks, and a family: 👨👩👧 of three",
        ] {
            for width in 1..80 {
                let line = text(Some(width), false, false, &finding(Severity::Low, title));
                let (line, end) = line.split_at(line.len() - 1);
                assert_eq!(end, "\n");
                let columns = line.width();
                assert!(columns <= width.max(NARROWEST), "{columns}: {line}");
                // A wide letter may leave one column empty.
                let whole = line.ends_with("· team");
                assert!(
                    whole || columns + 1 >= width && line.ends_with('…'),
                    "{line}"
                );
            }
        }
        let line = text(
            Some(60),
            false,
            false,
            &finding(Severity::Critical, "Short"),
        );
        assert_eq!(line, "09:14:05  ■ CRITICAL  Short · team\n");
    }

    #[test]
    fn control_characters_of_a_screen_do_not_reach_the_terminal() {
        let title = "a\u{1b}[2J\u{1b}]0;title\u{7}b\rc\u{9b}31md\u{202e}e\u{200b}";
        let mut entry = finding(Severity::Medium, title);
        entry.details = vec![format!("> {title}")];
        for width in [None, Some(60)] {
            let style = LineStyle {
                width,
                named: true,
                details: true,
            };
            let line = style.text(title, &entry);
            let own = anstream::adapter::strip_str(&line).to_string();
            let bad = own.chars().find(|letter| {
                letter.is_control() && *letter != '\n' || matches!(letter, '\u{202e}' | '\u{200b}')
            });
            assert_eq!(bad, None, "{line:?}");
            // Nothing was a sequence but the colours: all letters are there.
            assert!(own.contains("a[2J]0;titleb c31mde"), "{own}");
        }
    }

    #[test]
    fn levels_differ_without_colour() {
        let mut badges: Vec<_> = Severity::ALL
            .map(|severity| badge(&EntryKind::Finding(severity)).1.chars().next())
            .to_vec();
        badges.sort();
        badges.dedup();
        assert_eq!(badges.len(), Severity::ALL.len());
    }
}

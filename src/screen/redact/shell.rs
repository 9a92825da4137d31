//! Output of commands that print a secret: decoded or decrypted text, and
//! values read from a secret store.

use std::ops::Range;
use std::sync::LazyLock;

use regex::Regex;

use super::labels;
use super::value::{self, is_covered};
use crate::picture::{Rect, TextLine};
use crate::text::TextRow;

/// Maximum number of output rows hidden.
const MOST_ROWS: usize = 12;
/// Maximum gap between the rows of an output, in line heights; a larger one
/// ends it.
const GAP: u32 = 2;

/// Commands that decode or decrypt: their whole output is secret.
static DECODES: LazyLock<Regex> = LazyLock::new(|| {
    pattern(concat!(
        r"\bbase\s?(?:64|32)\s+(?:-{1,2}\s?d(?:ecode)?\b|-[a-z]*d\b)",
        r"|\bb64decode\b|\bFromBase64String\b",
        r"|\b(?:openssl|gpg2?|age|sops|kms|rage)\b[^|]*\s-{1,2}d(?:ecrypt)?\b",
        r"|\b(?:sops|ansible-vault|kms|gpg2?|age)\b[^|]*\b(?:decrypt|view)\b"
    ))
});
/// Commands that read a secret by its name.
static ASKS: LazyLock<Regex> = LazyLock::new(|| {
    pattern(
        r"\b(?:get|show|read|access|print|view|reveal|lookup|fetch|find|cat|type|echo|gen|generate|create|rand|new|reset|get-content|printenv|less|more|head|tail|output|export|dump|unseal|item|field|op|bw|lpass|pass|secret)[a-z-]*\b",
    )
});
/// Shell prompt at the start of a line.
static PROMPT: LazyLock<Regex> = LazyLock::new(|| {
    pattern(
        r"^(?:\[?[\w.-]+@[\w.-]+[^$#%>]{0,80}[$#%>❯]|(?:PS )?[a-z]:\\[^>]{0,80}>|[\w~./ ()-]{0,40}[$#❯➜λ]\s|[>%]\s|mysql>|[\w]+[=-][#>])",
    )
});
/// Prompt right after an output without a final newline.
static GLUED: LazyLock<Regex> =
    LazyLock::new(|| pattern(r"[\w.-]+@[\w.-]+[:~ ][^$#]{0,80}[$#](?:\s|$)"));
/// Argument to be decoded.
static GIVEN: LazyLock<Regex> = LazyLock::new(|| {
    pattern(r#"(?:echo|printf|<<<)\s+(?:-n\s+)?["']?(?P<value>[0-9A-Za-z+/=_-]{6,})["']?"#)
});

fn pattern(text: &str) -> Regex {
    Regex::new(&format!("(?i){text}")).expect("the pattern is valid")
}

/// Values that a command printed or received: line, and its part to hide.
pub(super) fn values(lines: &[TextLine], rows: &[TextRow]) -> Vec<(usize, Range<usize>)> {
    let mut found = Vec::new();
    for (at, row) in rows.iter().enumerate() {
        let decodes = DECODES.is_match(&row.text);
        if decodes {
            given(row, lines, &mut found);
        }
        let asks = !decodes && asks_for_a_secret(&row.text);
        if !(decodes || asks) || writes_elsewhere(&row.text) {
            continue;
        }
        let left = lines[row.parts[0].0].rect;
        output(lines, &rows[at + 1..], left, decodes, &mut found);
    }
    found
}

fn asks_for_a_secret(text: &str) -> bool {
    let Some(prompt) = PROMPT.find(text) else {
        return false;
    };
    let command = &text[prompt.end()..];
    let named = || {
        let mut labels = labels::find(command).into_iter();
        labels.next().is_some() || command.contains("secret") || command.contains("password")
    };
    ASKS.is_match(command) && named()
}

/// True if the output goes to a file, or to another command.
fn writes_elsewhere(text: &str) -> bool {
    let last = text.rsplit('|').next().unwrap_or(text);
    let pipes = text.contains('|');
    let filters = [
        "base64", "jq", "tr", "cut", "awk", "sed", "head", "cat", "grep", "openssl", "tail",
        "xargs", "yq", "python", "gunzip", "zcat", "xxd", "less",
    ];
    let command = last.split_whitespace().next().unwrap_or_default();
    let elsewhere = pipes && !filters.iter().any(|filter| command.starts_with(filter));
    let file = text.contains(" > ") || text.contains(" >> ") || text.contains(" -o ");
    // `-o yaml` prints to the terminal.
    let prints = [
        "yaml",
        "json",
        "jsonpath",
        "go-template",
        "text",
        "tsv",
        "value",
    ];
    let format = prints.iter().any(|format| text.contains(format));
    elsewhere || (file && !format)
}

fn given(row: &TextRow, lines: &[TextLine], found: &mut Vec<(usize, Range<usize>)>) {
    for (line, _) in &row.parts {
        for hit in GIVEN.captures_iter(&lines[*line].text) {
            found.extend(hit.name("value").map(|value| (*line, value.range())));
        }
    }
}

fn output(
    lines: &[TextLine],
    rows: &[TextRow],
    command: Rect,
    all: bool,
    found: &mut Vec<(usize, Range<usize>)>,
) {
    let mut above = command;
    for row in rows.iter().take(MOST_ROWS) {
        let in_window = |line: &usize| {
            let rect = lines[*line].rect;
            rect.x.abs_diff(command.x) <= 2 * command.height || rect.x > command.x
        };
        let Some((first, _)) = row.parts.iter().find(|(line, _)| in_window(line)) else {
            continue;
        };
        let rect = lines[*first].rect;
        if rect.y > above.bottom() + GAP * above.height || rect.x > command.x + 2 * command.height {
            return;
        }
        above = rect;
        let text = &lines[*first].text;
        if PROMPT.is_match(text) && !is_glued(text) {
            return;
        }
        let last = is_glued(text);
        match printed(text, all) {
            Some(range) => found.push((*first, range)),
            None if !all => return,
            None => {}
        }
        if last {
            return;
        }
    }
}

/// True if an output without a final newline runs into the prompt's user name.
fn is_glued(text: &str) -> bool {
    GLUED.find(text).is_some_and(|prompt| {
        let user = text[prompt.start()..].split('@').next().unwrap_or_default();
        // The output ends where the user name begins; a random-looking user
        // name is part of the output.
        prompt.start() > 0 || value::is_strong(user)
    })
}

/// Secret part of an output line.
fn printed(text: &str, all: bool) -> Option<Range<usize>> {
    let whole = match GLUED.find(text).filter(|_| is_glued(text)) {
        Some(prompt) if prompt.start() > 0 => 0..prompt.start(),
        Some(_) => 0..text.find('@').unwrap_or(text.len()),
        None => 0..text.len(),
    };
    let range = value::trimmed(text, whole)?;
    let said = &text[range.clone()];
    let single = !said.contains(' ') && said.chars().count() > 3;
    let fit =
        all || (single && !value::is_stop(said) && !value::is_fact(said) && !said.ends_with(':'));
    (fit && !is_covered(said)).then_some(range)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_line::stacked;
    use crate::text::rows;

    fn hidden(texts: &[&str]) -> Vec<String> {
        let lines = stacked(texts);
        let found = values(&lines, &rows(&lines));
        found
            .into_iter()
            .map(|(line, range)| lines[line].text[range].to_owned())
            .collect()
    }

    #[test]
    fn what_a_command_prints_is_hidden_until_the_next_prompt() {
        assert_eq!(
            hidden(&[
                "ops@web:~$ kubectl get secret db -o jsonpath='{.data.pw}' | base64 -d",
                "Harbour-lane 77",
                "ops@web:~$ ls",
                "notes.txt",
            ]),
            ["Harbour-lane 77"]
        );
        assert_eq!(
            hidden(&[
                "$ echo aHVudGVyMg== | base64 --decode",
                "hunter2ops@web:~$ "
            ]),
            ["aHVudGVyMg==", "hunter2ops"]
        );
        assert_eq!(
            hidden(&["$ pass show mail/password", "swordfish", "$ "]),
            ["swordfish"]
        );
        assert_eq!(hidden(&["$ gh auth token", "abc123def456"]), [""; 0]);
        assert_eq!(
            hidden(&["$ gcloud auth print-access-token", "abc123def456"]),
            ["abc123def456"]
        );
    }

    #[test]
    fn tables_and_files_are_no_output_of_that_kind() {
        for texts in [
            [
                "$ kubectl get secrets",
                "NAME TYPE DATA AGE",
                "db Opaque 3 41d",
            ],
            ["$ echo x | base64 -d > key.bin", "$ ls", "key.bin"],
            ["$ ls -la", "notes.txt", "done"],
            ["Read about secret management", "here", "done"],
        ] {
            assert_eq!(hidden(&texts), [""; 0], "{texts:?}");
        }
    }
}

//! Reader of a TOML table, key by key, which collects every fault instead of
//! stopping at the first. Keys left unread are unknown keys.

use std::time::Duration;

use toml::{Table, Value};

use crate::config::fault::Faults;

pub struct Section<'a> {
    table: Table,
    path: String,
    known: Vec<&'static str>,
    faults: &'a mut Faults,
}

impl std::fmt::Debug for Section<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Section").finish_non_exhaustive()
    }
}

impl<'a> Section<'a> {
    pub fn new(table: Table, path: impl Into<String>, faults: &'a mut Faults) -> Self {
        Self {
            table,
            path: path.into(),
            known: Vec::new(),
            faults,
        }
    }

    /// Defaults of a section: its value when no key is set.
    pub fn defaults<T>(read: impl FnOnce(Section<'_>) -> T) -> T {
        let mut faults = Faults::new("");
        read(Section::new(Table::new(), "", &mut faults))
    }

    /// Sub-table; empty when absent.
    pub fn section(&mut self, key: &'static str) -> Section<'_> {
        let path = self.path_of(key);
        let table = self.table(key);
        Section::new(table, path, self.faults)
    }

    /// Sub-tables of a table, by name.
    pub fn each<T>(&mut self, key: &'static str, read: impl Fn(&str, Section<'_>) -> T) -> Vec<T> {
        let mut all = Vec::new();
        for (name, value) in self.table(key) {
            let path = format!("{}.{name}", self.path_of(key));
            match value {
                Value::Table(table) => {
                    all.push(read(&name, Section::new(table, path, self.faults)));
                }
                other => self
                    .faults
                    .add(path, format!("must be a table, got {}", show(&other))),
            }
        }
        all
    }

    /// Table with arbitrary keys; empty when absent.
    pub fn table(&mut self, key: &'static str) -> Table {
        match self.take(key) {
            None => Table::new(),
            Some(Value::Table(table)) => table,
            Some(other) => self.wrong(key, &other, "a table").unwrap_or_default(),
        }
    }

    /// Array of tables (`[[key]]`).
    pub fn tables(&mut self, key: &'static str) -> Vec<Table> {
        match self.take(key) {
            None => Vec::new(),
            Some(Value::Array(items)) if items.iter().all(Value::is_table) => {
                let tables = items.into_iter().map(|item| match item {
                    Value::Table(table) => table,
                    _ => Table::new(),
                });
                tables.collect()
            }
            Some(other) => self
                .wrong(key, &other, "an array of tables ([[...]])")
                .unwrap_or_default(),
        }
    }

    pub fn text(&mut self, key: &'static str) -> Option<String> {
        match self.take(key)? {
            Value::String(text) => Some(text),
            other => self.wrong(key, &other, "a string"),
        }
    }

    /// String, or a number as it would be written.
    pub fn text_or_number(&mut self, key: &'static str) -> Option<String> {
        match self.take(key)? {
            Value::String(text) => Some(text),
            Value::Integer(number) => Some(number.to_string()),
            Value::Float(number) => Some(number.to_string()),
            other => self.wrong(key, &other, "a number, or a string"),
        }
    }

    /// True if the key is set and not read yet.
    pub fn has(&self, key: &str) -> bool {
        self.table.contains_key(key)
    }

    /// Required string that is not blank.
    pub fn required_text(&mut self, key: &'static str) -> String {
        let present = self.table.contains_key(key);
        let text = self.text(key);
        match text {
            Some(text) if !text.trim().is_empty() => return text.trim().to_owned(),
            Some(text) => self.fault(key, format!("must not be blank, got {text:?}")),
            None if !present => self.fault(key, "is missing"),
            None => {}
        }
        String::new()
    }

    pub fn texts(&mut self, key: &'static str) -> Option<Vec<String>> {
        let value = self.take(key)?;
        let Value::Array(items) = value else {
            return self.wrong(key, &value, "an array of strings");
        };
        let mut texts = Vec::new();
        for (index, item) in items.into_iter().enumerate() {
            match item {
                Value::String(text) => texts.push(text),
                other => {
                    let path = format!("{}[{index}]", self.path_of(key));
                    self.faults
                        .add(path, format!("must be a string, got {}", show(&other)));
                }
            }
        }
        Some(texts)
    }

    pub fn flag(&mut self, key: &'static str) -> Option<bool> {
        match self.take(key)? {
            Value::Boolean(flag) => Some(flag),
            other => self.wrong(key, &other, "true or false"),
        }
    }

    pub fn integer(&mut self, key: &'static str, least: i64, most: i64) -> Option<i64> {
        match self.take(key)? {
            Value::Integer(number) if (least..=most).contains(&number) => Some(number),
            other => self.wrong(
                key,
                &other,
                &format!("a whole number from {least} to {most}"),
            ),
        }
    }

    pub fn number(&mut self, key: &'static str, least: f64, most: f64) -> Option<f64> {
        let value = self.take(key)?;
        let number = match value {
            Value::Float(number) => Some(number),
            // Exact: both bounds are far below 2^53.
            Value::Integer(number) => Some(number as f64),
            _ => None,
        };
        match number.filter(|number| (least..=most).contains(number)) {
            Some(number) => Some(number),
            None => self.wrong(key, &value, &format!("a number from {least} to {most}")),
        }
    }

    /// Duration such as `"10s"`, `"1m 30s"` or `"500ms"`.
    pub fn duration(
        &mut self,
        key: &'static str,
        least: Duration,
        most: Duration,
    ) -> Option<Duration> {
        let value = self.take(key)?;
        let Value::String(text) = &value else {
            return self.wrong(key, &value, "a duration such as \"10s\"");
        };
        let Ok(span) = humantime::parse_duration(text) else {
            return self.wrong(key, &value, "a duration such as \"10s\"");
        };
        let show = humantime::format_duration;
        if span < least {
            self.fault(
                key,
                format!("must be at least {}, got {}", show(least), text.trim()),
            );
            return None;
        }
        if span > most {
            self.fault(
                key,
                format!("must be at most {}, got {}", show(most), text.trim()),
            );
            return None;
        }
        Some(span)
    }

    /// Value from a closed set of words.
    pub fn choice<T: Copy>(&mut self, key: &'static str, choices: &[(&str, T)]) -> Option<T> {
        let value = self.take(key)?;
        let found = value
            .as_str()
            .and_then(|text| choices.iter().find(|(word, _)| *word == text));
        if let Some((_, choice)) = found {
            return Some(*choice);
        }
        let words: Vec<_> = choices
            .iter()
            .map(|(word, _)| format!("{word:?}"))
            .collect();
        self.wrong(key, &value, &words.join(" or "))
    }

    pub fn required_choice<T: Copy>(
        &mut self,
        key: &'static str,
        choices: &[(&str, T)],
    ) -> Option<T> {
        if !self.table.contains_key(key) {
            let words: Vec<_> = choices.iter().map(|(word, _)| *word).collect();
            self.fault(key, format!("is missing: one of {}", words.join(", ")));
        }
        self.choice(key, choices)
    }

    pub fn fault(&mut self, key: &str, message: impl Into<String>) {
        let path = self.path_of(key);
        self.faults.add(path, message);
    }

    /// Reports the keys left unread as unknown; call it last.
    pub fn finish(self) {
        for key in self.table.keys() {
            let path = join(&self.path, key);
            let known = self.known.join(", ");
            self.faults
                .add(path, format!("unknown key; known here: {known}"));
        }
    }

    fn take(&mut self, key: &'static str) -> Option<Value> {
        self.known.push(key);
        self.table.remove(key)
    }

    fn wrong<T>(&mut self, key: &str, value: &Value, expected: &str) -> Option<T> {
        self.fault(key, format!("must be {expected}, got {}", show(value)));
        None
    }

    fn path_of(&self, key: &str) -> String {
        join(&self.path, key)
    }
}

fn join(path: &str, key: &str) -> String {
    if key.is_empty() {
        path.to_owned()
    } else if path.is_empty() {
        key.to_owned()
    } else {
        format!("{path}.{key}")
    }
}

fn show(value: &Value) -> String {
    match value {
        Value::Array(_) => "an array".to_owned(),
        Value::Table(_) => "a table".to_owned(),
        Value::String(text) => {
            let short: String = text.chars().take(60).collect();
            format!("{short:?}")
        }
        other => other.to_string(),
    }
}

/// A syntax error is the one fault that hides all others.
pub fn parse_table(text: &str, file: &str) -> Result<Table, Faults> {
    text.parse::<Table>().map_err(|error| {
        let line = error.span().map(|span| {
            text.get(..span.start)
                .map_or(1, |before| before.lines().count().max(1))
        });
        let place = line.map(|line| format!("line {line}")).unwrap_or_default();
        let mut faults = Faults::new(file);
        faults.add(place, format!("is not TOML: {}", error.message().trim()));
        faults
    })
}

pub const SECOND: Duration = Duration::from_secs(1);

pub const HOUR: Duration = Duration::from_secs(3600);

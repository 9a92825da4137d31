//! Changes of an `agents.toml` as text: comments, order and everything else
//! stay as they are.

use std::ops::Range;

use toml_edit::{Array, ArrayOfTables, Document, DocumentMut, Item, Table, Value, value};

use super::block::AgentBlock;

/// Change of one analyst.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AgentEdit {
    Add(AgentBlock),
    /// Replaces the settings of the analyst of that name.
    Change(String, AgentBlock),
    Remove(String),
}

impl AgentEdit {
    /// Name of the analyst before the change.
    pub fn name(&self) -> &str {
        match self {
            Self::Add(block) => &block.name,
            Self::Change(name, _) | Self::Remove(name) => name,
        }
    }

    /// Name of the analyst after the change.
    pub fn new_name(&self) -> Option<&str> {
        match self {
            Self::Add(block) | Self::Change(_, block) => Some(&block.name),
            Self::Remove(_) => None,
        }
    }
}

/// Reason why a text can't be changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum EditFault {
    #[error("analyst {0} not found")]
    Unknown(String),
    #[error("{0}")]
    Text(String),
}

impl From<toml_edit::TomlError> for EditFault {
    fn from(error: toml_edit::TomlError) -> Self {
        Self::Text(error.to_string())
    }
}

/// Analysts of a text, in its order.
pub(super) fn blocks(text: &str) -> Result<Vec<AgentBlock>, EditFault> {
    let document = Document::parse(text)?;
    Ok(tables(document.as_item().get("agent"))?
        .into_iter()
        .flatten()
        .map(AgentBlock::of)
        .collect())
}

/// Applies a change.
pub(super) fn edited(text: &str, edit: &AgentEdit) -> Result<String, EditFault> {
    match edit {
        AgentEdit::Add(block) => added(text, block),
        AgentEdit::Change(name, block) => changed(text, name, block),
        AgentEdit::Remove(name) => removed(text, name),
    }
}

/// Text of the block of an analyst, with the comments above it; `None` if it
/// is not there.
pub(super) fn block_text(text: &str, name: &str) -> Option<String> {
    let document = Document::parse(text).ok()?;
    let tables = tables(document.as_item().get("agent")).ok()??;
    let table = tables.iter().find(|table| is_named(table, name))?;
    let region = region(text, table)?;
    Some(text[region].trim_end().to_owned() + "\n")
}

/// `[[agent]]` blocks; `None` without one.
fn tables(item: Option<&Item>) -> Result<Option<&ArrayOfTables>, EditFault> {
    match item {
        None => Ok(None),
        Some(Item::ArrayOfTables(tables)) => Ok(Some(tables)),
        Some(_) => Err(EditFault::Text(
            "agent: must be written as [[agent]] blocks to be changed here".to_owned(),
        )),
    }
}

fn is_named(table: &Table, name: &str) -> bool {
    let written = table.get("name").and_then(Item::as_str);
    written.is_some_and(|written| written.trim() == name)
}

/// Lines of a block: from the comments directly above its header to the
/// comments directly below its last key.
fn region(text: &str, table: &Table) -> Option<Range<usize>> {
    let span = table.span()?;
    let values = table.iter().filter_map(|(_, item)| item.span());
    let last = values.map(|span| span.end).fold(span.end, usize::max);
    let is_comment = |line: &str| line.trim_start().starts_with('#');
    let mut start = text[..span.start].rfind('\n').map_or(0, |at| at + 1);
    while let Some(above) = text[..start].strip_suffix('\n') {
        let line = above.rfind('\n').map_or(0, |at| at + 1);
        if !is_comment(&text[line..start]) {
            break;
        }
        start = line;
    }
    let line_end = |from: usize| {
        text[from..]
            .find('\n')
            .map_or(text.len(), |at| from + at + 1)
    };
    // The span of a header alone may include the end of its line.
    let last = last.max(1);
    let mut end = if text[..last].ends_with('\n') {
        last
    } else {
        line_end(last)
    };
    while end < text.len() && is_comment(&text[end..line_end(end)]) {
        end = line_end(end);
    }
    Some(start..end)
}

fn added(text: &str, block: &AgentBlock) -> Result<String, EditFault> {
    let document = Document::parse(text)?;
    let tables = tables(document.as_item().get("agent"))?;
    let last = tables.and_then(|tables| {
        tables
            .iter()
            .filter_map(|table| region(text, table))
            .max_by_key(|region| region.end)
    });
    let at = last.map_or(text.len(), |region| region.end);
    let (before, after) = text.split_at(at);
    let before = match before {
        "" => String::new(),
        before if before.ends_with("\n\n") => before.to_owned(),
        before if before.ends_with('\n') => format!("{before}\n"),
        before => format!("{before}\n\n"),
    };
    let gap = if after.is_empty() || after.starts_with(['\n', '\r']) {
        ""
    } else {
        "\n"
    };
    Ok(format!("{before}{}{gap}{after}", written(block)))
}

/// Text of a new block.
fn written(block: &AgentBlock) -> String {
    let mut table = Table::new();
    set(&mut table, block);
    let mut tables = ArrayOfTables::new();
    tables.push(table);
    let mut document = DocumentMut::new();
    document.insert("agent", Item::ArrayOfTables(tables));
    document.to_string()
}

fn changed(text: &str, name: &str, block: &AgentBlock) -> Result<String, EditFault> {
    let mut document: DocumentMut = text.parse()?;
    tables(document.get("agent"))?;
    let unknown = || EditFault::Unknown(name.to_owned());
    let tables = document
        .get_mut("agent")
        .and_then(Item::as_array_of_tables_mut);
    let mut tables = tables.ok_or_else(unknown)?.iter_mut();
    let table = tables.find(|table| is_named(table, name));
    set(table.ok_or_else(unknown)?, block);
    drop(tables);
    if block.name != name {
        // Its watches go with it.
        let watches = document
            .get_mut("watch")
            .and_then(Item::as_array_of_tables_mut);
        for watch in watches.into_iter().flat_map(ArrayOfTables::iter_mut) {
            let agent = watch.get("agent").and_then(Item::as_str);
            if agent.is_some_and(|agent| agent.trim().eq_ignore_ascii_case(name)) {
                put(watch, "agent", &block.name);
            }
        }
    }
    Ok(document.to_string())
}

fn removed(text: &str, name: &str) -> Result<String, EditFault> {
    let unknown = || EditFault::Unknown(name.to_owned());
    let document = Document::parse(text)?;
    let tables = tables(document.as_item().get("agent"))?.ok_or_else(unknown)?;
    let table = tables
        .iter()
        .find(|table| is_named(table, name))
        .ok_or_else(unknown)?;
    let region = region(text, table).ok_or_else(unknown)?;
    let (before, after) = (&text[..region.start], &text[region.end..]);
    // One of the blank lines around it.
    let after = if before.is_empty() || before.ends_with("\n\n") {
        after.strip_prefix('\n').unwrap_or(after)
    } else {
        after
    };
    Ok(format!("{before}{after}"))
}

/// Sets the keys of a block that differ.
fn set(table: &mut Table, block: &AgentBlock) {
    let now = AgentBlock::of(table);
    if now.name != block.name {
        put(table, "name", &block.name);
    }
    if now.personality != block.personality {
        put(table, "personality", &block.personality);
    }
    if now.focus != block.focus {
        put(table, "focus", &block.focus);
    }
    set_texts(table, "indicators", &block.indicators, true);
    let texts = |texts: &Option<Vec<String>>| texts.clone().unwrap_or_default();
    for (key, before, wanted) in [
        ("interval", &now.interval, &block.interval),
        ("model", &now.model, &block.model),
    ] {
        set_text(table, key, before, wanted);
    }
    if now.requests_per_interval != block.requests_per_interval {
        set_integer(table, "requests_per_interval", block.requests_per_interval);
    }
    set_texts(table, "streams", &block.streams, false);
    // An empty list is no fallback, where [model] has one.
    if block.fallback.is_some() && texts(&block.fallback).is_empty() {
        if now.fallback != block.fallback {
            table.insert("fallback", value(Array::new()));
        }
    } else {
        set_texts(table, "fallback", &texts(&block.fallback), false);
    }
    for (key, before, wanted) in [
        ("thinking", &now.thinking, &block.thinking),
        ("language", &now.language, &block.language),
        ("frames", &now.frames, &block.frames),
        ("priority", &now.priority, &block.priority),
    ] {
        set_text(table, key, before, wanted);
    }
    if now.max_regions != block.max_regions {
        set_integer(table, "max_regions", block.max_regions);
    }
    if now.enabled != block.enabled {
        put(table, "enabled", block.enabled);
    }
}

/// Sets a value in its place, with the comment beside it.
fn put(table: &mut Table, key: &str, new: impl Into<Value>) {
    let mut new: Value = new.into();
    match table.get_mut(key) {
        Some(Item::Value(old)) => {
            *new.decor_mut() = old.decor().clone();
            *old = new;
        }
        _ => {
            table.insert(key, value(new));
        }
    }
}

fn set_text(table: &mut Table, key: &str, before: &Option<String>, wanted: &Option<String>) {
    if before == wanted {
        return;
    }
    match wanted {
        Some(text) => put(table, key, text),
        None => {
            table.remove(key);
        }
    }
}

fn set_integer(table: &mut Table, key: &str, wanted: Option<i64>) {
    match wanted {
        Some(number) => put(table, key, number),
        None => {
            table.remove(key);
        }
    }
}

/// Sets a list; items that stay keep their comments. An empty one is removed.
fn set_texts(table: &mut Table, key: &str, wanted: &[String], lines: bool) {
    let old = table.get(key).and_then(Item::as_array).cloned();
    if wanted.is_empty() {
        if old.is_none_or(|old| !old.is_empty()) {
            table.remove(key);
        }
        return;
    }
    let mut old = old.unwrap_or_default();
    if old
        .iter()
        .map(Value::as_str)
        .eq(wanted.iter().map(|text| Some(text.as_str())))
    {
        return;
    }
    let is_broken = |value: &Value| {
        let prefix = value.decor().prefix().and_then(|prefix| prefix.as_str());
        prefix.is_some_and(|prefix| prefix.contains('\n'))
    };
    let broken = old.iter().any(is_broken) || lines && old.is_empty();
    let mut new = Array::new();
    *new.decor_mut() = old.decor().clone();
    for (nth, text) in wanted.iter().enumerate() {
        let known = old
            .iter()
            .position(|item| item.as_str() == Some(text.as_str()));
        let mut item = match known {
            Some(at) => old.remove(at),
            None if broken => Value::from(text).decorated("\n  ", ""),
            None => Value::from(text).decorated(if nth == 0 { "" } else { " " }, ""),
        };
        if !broken && nth == 0 {
            item.decor_mut().set_prefix("");
        } else if !broken && item.decor().prefix().and_then(|prefix| prefix.as_str()) == Some("") {
            item.decor_mut().set_prefix(" ");
        }
        new.push_formatted(item);
    }
    if broken {
        let trailing = old.trailing().as_str().unwrap_or_default();
        let trailing = if trailing.contains('\n') {
            trailing
        } else {
            "\n"
        };
        new.set_trailing(trailing);
        new.set_trailing_comma(true);
    }
    match table.get_mut(key) {
        Some(Item::Value(value)) => *value = Value::Array(new),
        _ => {
            table.insert(key, value(new));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "\
# Head.

[model]
name = \"m\" # model
# usd = 1

# First analyst.
[[agent]] # header
name = \"One\"   # its name
personality = 'calm'
focus = \"\"\"
banners\"\"\"
indicators = [
  \"a\", # first
  \"b\",
]
# enabled = false

# Second paragraph.
# Directly above.
[[agent]]
interval = \"5s\"
name = \"Two\"
personality = \"brisk\"
focus = \"queues\"
streams = [\"x\", \"y\"]

# After all of them.

[[watch]]
label = \"p99\"
above = 2
agent = \"two\" # whose
";

    fn block(name: &str) -> AgentBlock {
        let mut all = blocks(FILE).unwrap().into_iter();
        all.find(|block| block.name == name).unwrap()
    }

    fn change(name: &str, change: impl Fn(&mut AgentBlock)) -> String {
        let mut wanted = block(name);
        change(&mut wanted);
        let text = edited(FILE, &AgentEdit::Change(name.to_owned(), wanted.clone())).unwrap();
        let now = blocks(&text).unwrap();
        assert!(now.contains(&wanted), "{text}");
        text
    }

    #[test]
    fn what_is_the_same_stays_byte_by_byte() {
        assert_eq!(change("One", |_| ()), FILE);
        assert_eq!(change("Two", |_| ()), FILE);
        let shipped = include_str!("../../../agents.toml");
        for block in blocks(shipped).unwrap() {
            assert_eq!(block.faults(), Vec::<String>::new());
            let edit = AgentEdit::Change(block.name.clone(), block);
            assert_eq!(edited(shipped, &edit).unwrap(), shipped);
        }
    }

    #[test]
    fn changed_values_keep_their_comments() {
        let text = change("One", |block| {
            block.enabled = false;
            block.indicators = vec!["new".to_owned(), "b".to_owned(), "a".to_owned()];
            block.personality = "wary \"of\" all\nlines".to_owned();
        });
        let expected = FILE
            .replace("'calm'", "\"\"\"\nwary \"of\" all\nlines\"\"\"")
            .replace(
                "  \"a\", # first\n  \"b\",\n]\n",
                "  \"new\", # first\n  \"b\",\n  \"a\",\n]\nenabled = false\n",
            );
        // A comment behind a comma stays above the next item.
        assert_eq!(text, expected);
        let text = change("Two", |block| {
            block.streams = vec!["y".to_owned(), "z".to_owned()];
            block.interval = None;
            block.model = Some("offline".to_owned());
        });
        let expected = FILE
            .replace("interval = \"5s\"\n", "")
            .replace("[\"x\", \"y\"]\n", "[\"y\", \"z\"]\nmodel = \"offline\"\n");
        assert_eq!(text, expected);
    }

    #[test]
    fn renamed_analyst_keeps_its_watches() {
        let text = change("Two", |block| block.name = "Three".to_owned());
        let expected = FILE
            .replace("\"Two\"", "\"Three\"")
            .replace("agent = \"two\" # whose", "agent = \"Three\" # whose");
        assert_eq!(text, expected);
    }

    #[test]
    fn removed_block_takes_its_own_comments_only() {
        let text = edited(FILE, &AgentEdit::Remove("One".to_owned())).unwrap();
        let start = FILE.find("# First analyst").unwrap();
        let end = FILE.find("# Second paragraph").unwrap();
        assert_eq!(text, format!("{}{}", &FILE[..start], &FILE[end..]));
        let text = edited(FILE, &AgentEdit::Remove("Two".to_owned())).unwrap();
        let start = FILE.find("# Second paragraph").unwrap();
        let end = FILE.find("# After all").unwrap();
        assert_eq!(text, format!("{}{}", &FILE[..start], &FILE[end..]));
        let alone = "[[agent]]\nname = \"A\"";
        assert_eq!(
            edited(alone, &AgentEdit::Remove("A".to_owned())).unwrap(),
            ""
        );
    }

    #[test]
    fn added_block_comes_after_the_last_one() {
        let new = AgentBlock {
            name: "New".to_owned(),
            personality: "p\u{202e}\"'\\".to_owned(),
            focus: "f".to_owned(),
            indicators: vec!["]\n[[agent]]".to_owned()],
            interval: Some("20s".to_owned()),
            enabled: false,
            ..AgentBlock::default()
        };
        let text = edited(FILE, &AgentEdit::Add(new.clone())).unwrap();
        let names = |text: &str| -> Vec<String> {
            let blocks = blocks(text).unwrap().into_iter();
            blocks.map(|block| block.name).collect()
        };
        assert_eq!(names(&text), ["One", "Two", "New"]);
        assert_eq!(blocks(&text).unwrap()[2], new);
        let at = FILE.find("\n# After all").unwrap();
        assert!(text.starts_with(&FILE[..at]), "{text}");
        assert!(text.ends_with(&FILE[at..]), "{text}");
        assert_eq!(names(&edited("", &AgentEdit::Add(new)).unwrap()), ["New"]);
        let removed = edited(&text, &AgentEdit::Remove("New".to_owned())).unwrap();
        assert_eq!(removed, FILE);
    }

    #[test]
    fn block_is_shown_with_its_comments() {
        let text = block_text(FILE, "Two").unwrap();
        assert!(text.starts_with("# Second paragraph.\n# Directly above.\n[[agent]]\n"));
        assert!(text.ends_with("streams = [\"x\", \"y\"]\n"), "{text}");
        assert_eq!(block_text(FILE, "Nobody"), None);
    }

    #[test]
    fn what_cannot_be_changed_is_named() {
        let unknown = edited(FILE, &AgentEdit::Remove("Nobody".to_owned()));
        assert_eq!(unknown, Err(EditFault::Unknown("Nobody".to_owned())));
        let inline = "agent = [{ name = \"A\" }]";
        let fault = edited(inline, &AgentEdit::Remove("A".to_owned())).unwrap_err();
        assert!(fault.to_string().contains("[[agent]] blocks"), "{fault}");
        assert!(edited("[model", &AgentEdit::Remove("A".to_owned())).is_err());
    }

    #[test]
    fn hostile_texts_are_refused_with_their_key() {
        let faults = AgentBlock {
            name: "a\u{7}".to_owned(),
            personality: "x".repeat(4001),
            focus: "one\ntwo\u{0}".to_owned(),
            indicators: vec![
                "a\nb".to_owned(),
                "password: hunter2hunter2".to_owned(),
                "AKIAIOSFODNN7EXAMPLE".to_owned(),
            ],
            streams: vec![String::new(); 65],
            model: Some("m".repeat(201)),
            ..AgentBlock::default()
        }
        .faults();
        let secret = "must not contain a secret: API keys are set in the environment";
        assert_eq!(
            faults,
            [
                "name: must not contain control characters, got U+0007".to_owned(),
                "personality: must be at most 4000 characters long, got 4001".to_owned(),
                "focus: must not contain control characters, got U+0000".to_owned(),
                "indicators[0]: must not contain control characters, got U+000A".to_owned(),
                format!("indicators[1]: {secret}"),
                format!("indicators[2]: {secret}"),
                "model: must be at most 200 characters long, got 201".to_owned(),
                "streams: must have at most 64 items, got 65".to_owned(),
            ]
        );
    }
}

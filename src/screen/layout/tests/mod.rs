//! Layouts of drawn screens.

mod bounds;
mod canvas;
mod kinds;

use canvas::{AMBER, BLACK, Canvas, GREEN, RED, WHITE};

use super::{
    Element, ElementContent, ElementText, KeyValue, Layout, PanelRole, StatusColour, Table,
};
use crate::picture::Picture;

fn tables(layout: &Layout) -> Vec<(&Element, &Table)> {
    let table = |element| match element {
        &Element {
            content: ElementContent::Table(ref table),
            ..
        } => Some((element, table)),
        _ => None,
    };
    layout.elements.iter().filter_map(table).collect()
}

fn texts(row: &[ElementText]) -> Vec<&str> {
    row.iter().map(|cell| cell.text.as_str()).collect()
}

fn pairs(pairs: &[KeyValue]) -> Vec<(&str, &str)> {
    (pairs.iter())
        .map(|pair| (pair.key.text.as_str(), pair.value.text.as_str()))
        .collect()
}

/// Menu at the left whose entries are level with the rows of a table.
fn light_console(scale: u32) -> Layout {
    let mut canvas = Canvas::new(960, 540, scale, WHITE);
    canvas.fill([0, 0, 150, 540], [30, 40, 60]);
    for (at, entry) in (0..).zip(["Overview", "Services", "Deploys", "Settings", "Help"]) {
        canvas.text(entry, 20, 120 + 80 * at, [200, 205, 215]);
    }
    canvas.sized("Services", 180, 30, 24, BLACK);
    canvas.fill([170, 80, 780, 30], [225, 230, 240]);
    let columns = [180, 420, 560, 700];
    for (x, head) in columns
        .into_iter()
        .zip(["Name", "State", "Version", "Note"])
    {
        canvas.text(head, x, 87, BLACK);
    }
    let rows = [
        (
            "checkout",
            "Failed",
            RED,
            "v1.4.0",
            ["no answer from", "the database"],
        ),
        ("cart", "Running", GREEN, "v2.0.1", ["", ""]),
        (
            "search",
            "Degraded",
            AMBER,
            "v0.9.3",
            ["two of three", "replicas"],
        ),
        ("login", "Running", GREEN, "v1.1.0", ["", ""]),
    ];
    for (at, (name, state, paint, version, note)) in (0..).zip(rows) {
        let y = 120 + 80 * at;
        canvas.fill([170, y - 10, 780, 1], [215, 215, 215]);
        canvas.text(name, columns[0], y, BLACK);
        canvas.badge(state, columns[1], y, paint);
        canvas.text(version, columns[2], y, BLACK);
        for (line, part) in (0..).zip(note.into_iter().filter(|part| !part.is_empty())) {
            canvas.text(part, columns[3], y + 22 * line, BLACK);
        }
    }
    canvas.fill([170, 430, 780, 1], [215, 215, 215]);
    canvas.layout()
}

#[test]
fn a_table_has_its_head_rows_and_wrapped_cells_at_any_size() {
    for scale in [1, 2, 4] {
        let layout = light_console(scale);
        let found = tables(&layout);
        let [(element, table)] = found.as_slice() else {
            panic!("expected one table at {scale}: {:#?}", layout.lines());
        };
        assert_eq!(
            table.head.as_deref().map(texts),
            Some(vec!["Name", "State", "Version", "Note"])
        );
        let rows: Vec<_> = table.rows.iter().map(|row| texts(row)).collect();
        assert_eq!(
            rows,
            [
                [
                    "checkout",
                    "Failed",
                    "v1.4.0",
                    "no answer from the database"
                ],
                ["cart", "Running", "v2.0.1", ""],
                ["search", "Degraded", "v0.9.3", "two of three replicas"],
                ["login", "Running", "v1.1.0", ""],
            ]
        );
        let colours: Vec<_> = table.rows.iter().map(|row| row[1].fill).collect();
        use StatusColour::{Amber, Green, Red};
        assert_eq!(colours, [Red, Green, Amber, Green]);
        let plain = table.rows.iter().map(|row| row[0].colour());
        assert!(plain.into_iter().all(|colour| colour == StatusColour::None));
        let title = element.title.as_ref().map(|title| title.text.as_str());
        assert_eq!((title, element.panel), (Some("Services"), PanelRole::Main));
    }
}

#[test]
fn a_menu_is_a_panel_of_its_own() {
    let layout = light_console(2);
    let menu: Vec<_> = (layout.elements.iter())
        .filter(|element| element.panel == PanelRole::Sidebar)
        .map(|element| match &element.content {
            ElementContent::Prose(text) => text.text.as_str(),
            other => other.kind(),
        })
        .collect();
    assert_eq!(
        menu,
        ["Overview", "Services", "Deploys", "Settings", "Help"]
    );
    let sidebar = &layout.panels[0];
    assert_eq!(sidebar.role, PanelRole::Sidebar);
    assert!(sidebar.rect.right() < 320, "{:?}", sidebar.rect);
}

#[test]
fn every_line_belongs_to_one_element() {
    let layout = light_console(1);
    let mut lines: Vec<_> = (layout.elements.iter())
        .flat_map(|element| element.lines.iter().copied())
        .collect();
    let all = lines.len();
    lines.sort_unstable();
    lines.dedup();
    assert_eq!((lines.len(), all), (26, 26));
    let told = layout.lines();
    let row = told.iter().find(|line| line.text.starts_with("checkout"));
    assert_eq!(
        row.map(|row| row.text.as_str()),
        Some("checkout | Failed | v1.4.0 | no answer from the database")
    );
}

#[test]
fn dark_cards_have_label_value_and_colour() {
    let mut canvas = Canvas::new(1280, 720, 1, BLACK);
    let cards = [
        ("Error rate", "7.2 %", RED),
        ("Latency p99", "840 ms", AMBER),
        ("Requests", "1,204", WHITE),
    ];
    for (at, (label, value, paint)) in (0..).zip(cards) {
        let x = 60 + 380 * at;
        canvas.fill([x, 60, 320, 140], [44, 46, 54]);
        canvas.text(label, x + 24, 80, [180, 184, 190]);
        canvas.sized(value, x + 24, 120, 40, paint);
    }
    let layout = canvas.layout();
    let found: Vec<_> = (layout.elements.iter())
        .map(|element| match &element.content {
            ElementContent::Card(card) => (
                card.label.text.as_str(),
                card.value.text.as_str(),
                card.value.ink,
            ),
            other => panic!("expected a card, got a {}", other.kind()),
        })
        .collect();
    assert_eq!(
        found,
        [
            ("Error rate", "7.2 %", StatusColour::Red),
            ("Latency p99", "840 ms", StatusColour::Amber),
            ("Requests", "1,204", StatusColour::None),
        ]
    );
    let told: Vec<_> = layout.lines().into_iter().map(|line| line.text).collect();
    assert_eq!(
        told,
        [
            "Error rate: 7.2 %",
            "Latency p99: 840 ms",
            "Requests: 1,204"
        ]
    );
}

#[test]
fn tiles_side_by_side_keep_their_pairs_and_names() {
    let mut canvas = Canvas::new(960, 540, 2, [220, 224, 230]);
    let tiles = [("北京", "正常", GREEN), ("上海", "故障", RED)];
    for (at, (name, state, paint)) in (0..).zip(tiles) {
        let x = 60 + 420 * at;
        canvas.fill([x, 60, 360, 200], WHITE);
        canvas.text(name, x + 30, 80, BLACK);
        for (nth, (key, value)) in (0..).zip([("状态", state), ("副本", "3"), ("版本", "2.1")])
        {
            let y = 130 + 36 * nth;
            canvas.text(key, x + 30, y, BLACK);
            canvas.text(value, x + 160, y, BLACK);
            if nth == 0 {
                canvas.fill([x + 142, y + 3, 10, 10], paint);
            }
        }
    }
    let layout = canvas.layout();
    let found: Vec<_> = (layout.elements.iter())
        .filter_map(|element| match &element.content {
            ElementContent::KeyValues(list) => Some((
                element.title.as_ref().map(|title| title.text.as_str()),
                pairs(list),
                list[0].value.icon,
            )),
            _ => None,
        })
        .collect();
    assert_eq!(
        found,
        [
            (
                Some("北京"),
                vec![("状态", "正常"), ("副本", "3"), ("版本", "2.1")],
                StatusColour::Green
            ),
            (
                Some("上海"),
                vec![("状态", "故障"), ("副本", "3"), ("版本", "2.1")],
                StatusColour::Red
            ),
        ]
    );
}

#[test]
fn a_terminal_has_tables_and_log_lines() {
    let mut canvas = Canvas::new(1280, 720, 1, BLACK);
    let grey = [210, 210, 210];
    canvas.text("$ kubectl get pods", 20, 20, grey);
    let columns = [20, 240, 320, 520, 640];
    let rows = [
        ["NAME", "READY", "STATUS", "RESTARTS", "AGE"],
        ["api-7d9f", "1/1", "Running", "0", "3d"],
        ["worker-x2", "0/1", "CrashLoopBackOff", "17", "3d"],
    ];
    for (at, row) in (0..).zip(rows) {
        for (x, cell) in columns.into_iter().zip(row) {
            canvas.text(cell, x, 44 + 20 * at, grey);
        }
    }
    let log = [
        "2026-03-01T10:00:01Z INFO api: listening on port 8080",
        "2026-03-01T10:00:02Z ERROR db: connection refused",
    ];
    for (at, entry) in (0..).zip(log) {
        canvas.text(entry, 20, 140 + 20 * at, grey);
    }
    canvas.text("at pool.rs:42", 60, 180, grey);
    let layout = canvas.layout();
    let found = tables(&layout);
    let [(_, table)] = found.as_slice() else {
        panic!("expected one table: {:#?}", layout.lines());
    };
    assert_eq!(table.head.as_deref().map(texts), Some(rows[0].to_vec()));
    let body: Vec<_> = table.rows.iter().map(|row| texts(row)).collect();
    assert_eq!(body, [rows[1].to_vec(), rows[2].to_vec()]);
    let logs: Vec<_> = (layout.elements.iter())
        .filter_map(|element| match &element.content {
            ElementContent::LogLine(log) => Some((
                log.time.as_deref(),
                log.level.as_deref(),
                log.source.as_deref(),
                log.message.as_str(),
            )),
            _ => None,
        })
        .collect();
    assert_eq!(
        logs,
        [
            (
                Some("2026-03-01T10:00:01Z"),
                Some("INFO"),
                Some("api"),
                "listening on port 8080"
            ),
            (
                Some("2026-03-01T10:00:02Z"),
                Some("ERROR"),
                Some("db"),
                "connection refused at pool.rs:42"
            ),
        ]
    );
}

#[test]
fn a_head_read_as_one_line_is_cut_at_the_columns() {
    let mut canvas = Canvas::new(960, 540, 1, WHITE);
    canvas.text("Host", 20, 20, BLACK);
    // Ten characters of 9 pixels, with the second word over the third column.
    canvas.text("Port State", 200, 20, BLACK);
    for (at, row) in (0..).zip([
        ["a1", "443", "open"],
        ["b2", "22", "shut"],
        ["c3", "80", "open"],
    ]) {
        for (x, cell) in [20, 200, 246].into_iter().zip(row) {
            canvas.text(cell, x, 60 + 40 * at, BLACK);
        }
    }
    let layout = canvas.layout();
    let found = tables(&layout);
    let [(_, table)] = found.as_slice() else {
        panic!("expected one table: {:#?}", layout.lines());
    };
    assert_eq!(
        table.head.as_deref().map(texts),
        Some(vec!["Host", "Port", "State"])
    );
    assert_eq!(texts(&table.rows[1]), ["b2", "22", "shut"]);
}

#[test]
fn a_toolbar_and_paragraphs_are_no_table() {
    let mut canvas = Canvas::new(960, 540, 1, WHITE);
    for (x, button) in [(20, "New"), (90, "Open"), (180, "Refresh"), (320, "Help")] {
        canvas.text(button, x, 20, BLACK);
    }
    canvas.text("Alerts", 20, 52, BLACK);
    canvas.text("Engines", 130, 52, BLACK);
    let left = "The service answers slowly since the last release went out";
    let right = "Nothing was changed in the configuration of the database";
    for at in 0..4 {
        canvas.sized(left, 20, 120 + 20 * at, 12, BLACK);
        canvas.sized(right, 500, 120 + 20 * at, 12, BLACK);
    }
    let layout = canvas.layout();
    assert!(tables(&layout).is_empty(), "{:#?}", layout.lines());
    let prose = layout.lines().into_iter().map(|line| line.text);
    let long = [left; 4].join(" ");
    assert!(prose.into_iter().any(|text| text == long));
}

#[test]
fn nothing_is_found_on_an_empty_screen() {
    let layout = Layout::of(&[], &Picture::grey(640, 360));
    assert_eq!((layout.elements.len(), layout.panels.len()), (0, 0));
    let none = Picture::grey(0, 0);
    let line = crate::test_line::line("text without a picture", 5, 5);
    let layout = Layout::of(&[line], &none);
    assert_eq!(layout.lines()[0].text, "text without a picture");
}

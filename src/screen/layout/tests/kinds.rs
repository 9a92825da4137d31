//! Kinds of screens whose elements were once found wrong.

use super::canvas::{BLACK, Canvas, GREEN, Paint, RED, WHITE};
use super::{ElementContent, Layout, PanelRole, StatusColour, Table, tables, texts};

/// Page under half a shade of black.
const DIMMED: Paint = [128, 128, 128];
const DIMMED_INK: Paint = [10, 10, 12];
const LINE: Paint = [205, 208, 212];

fn rows(table: &Table) -> Vec<Vec<&str>> {
    table.rows.iter().map(|row| texts(row)).collect()
}

/// Text of the elements of a panel.
fn on(layout: &Layout, role: PanelRole) -> Vec<&str> {
    (layout.elements.iter())
        .filter(|element| element.panel == role)
        .map(|element| match &element.content {
            ElementContent::Prose(text)
            | ElementContent::Heading(text)
            | ElementContent::Badge(text) => text.text.as_str(),
            other => other.kind(),
        })
        .collect()
}

/// Table of names below each other, on the surface that is there.
fn listing(canvas: &mut Canvas, y: u32, paint: Paint, all: &[[&str; 3]]) {
    for (at, row) in (0..).zip(all) {
        for (x, cell) in [40, 300, 560].into_iter().zip(row) {
            canvas.text(cell, x, y + 40 * at, paint);
        }
    }
}

const BUCKETS: [[&str; 3]; 4] = [
    ["Bucket", "Owner", "Access"],
    ["logs", "ops", "Private"],
    ["assets", "web", "Public"],
    ["exports", "data", "Public"],
];

#[test]
fn a_dialog_is_what_a_dimmed_page_is_behind() {
    let question = |page: Paint, ink: Paint| {
        let mut canvas = Canvas::new(960, 540, 1, page);
        listing(&mut canvas, 30, ink, &BUCKETS);
        canvas.fill([180, 230, 360, 220], WHITE);
        canvas.sized("Delete bucket exports?", 210, 250, 20, BLACK);
        canvas.text("It holds 77 objects", 210, 300, BLACK);
        canvas.layout()
    };
    let layout = question(DIMMED, DIMMED_INK);
    let told = on(&layout, PanelRole::Dialog);
    assert_eq!(told, ["Delete bucket exports?", "It holds 77 objects"]);
    assert_eq!(on(&layout, PanelRole::Main), ["table"]);
    let dialog = layout
        .panels
        .iter()
        .find(|panel| panel.role == PanelRole::Dialog);
    let rect = dialog.expect("a dialog").rect;
    assert!(
        rect.x.abs_diff(180) <= 4 && rect.bottom().abs_diff(450) <= 4,
        "{rect:?}"
    );

    // A card on a page that is not dimmed.
    let layout = question([225, 228, 232], BLACK);
    assert!(
        on(&layout, PanelRole::Dialog).is_empty(),
        "{:?}",
        layout.panels
    );
}

#[test]
fn a_drawer_that_lines_part_is_one_dialog() {
    let mut canvas = Canvas::new(960, 540, 1, DIMMED);
    for (at, entry) in (0..).zip(["Home", "Hosts", "Checks", "Users"]) {
        canvas.text(entry, 20, 40 + 90 * at, DIMMED_INK);
        // The page goes on behind the drawer.
        canvas.text("Last run on", 101, 60 + 90 * at, DIMMED_INK);
    }
    canvas.fill([200, 0, 760, 540], WHITE);
    for y in [80, 300] {
        canvas.fill([200, y, 760, 3], LINE);
    }
    canvas.sized("Login and checkout", 230, 30, 24, BLACK);
    canvas.text("Failed at the third step", 230, 150, RED);
    canvas.text("No address was found", 230, 400, BLACK);
    let layout = canvas.layout();
    let told = on(&layout, PanelRole::Dialog);
    let all = [
        "Login and checkout",
        "Failed at the third step",
        "No address was found",
    ];
    assert_eq!(told, all);
}

#[test]
fn a_row_whose_line_is_covered_by_its_text_is_one_row() {
    let mut canvas = Canvas::new(960, 540, 1, WHITE);
    let all = [
        ["Bucket", "Owner", "Objects"],
        ["logs", "ops", "12"],
        ["assets", "web", "930"],
        ["models", "ml", "41"],
        ["cdn", "web", "8120"],
        ["raw", "data", "22"],
    ];
    for (at, row) in (0..).zip(all) {
        let y = 30 + 30 * at;
        canvas.fill([30, y + 22, 800, 1], LINE);
        for (x, cell) in [40, 300, 560].into_iter().zip(row) {
            canvas.text(cell, x, y, BLACK);
        }
    }
    // OCR gives some boxes a margin.
    for line in &mut canvas.lines {
        if line.text == "ml" || line.text == "cdn" {
            line.rect.y -= 6;
            line.rect.height += 14;
        }
    }
    let layout = canvas.layout();
    let found = tables(&layout);
    let [(_, table)] = found.as_slice() else {
        panic!("expected one table: {:#?}", layout.lines());
    };
    assert_eq!(
        rows(table),
        all[1..].iter().map(|row| row.to_vec()).collect::<Vec<_>>()
    );
}

#[test]
fn a_tall_cell_among_centred_ones_does_not_end_its_table() {
    let mut canvas = Canvas::new(960, 540, 1, WHITE);
    let columns = [40, 200, 500, 700];
    for (x, name) in columns
        .into_iter()
        .zip(["Id", "Weakness", "Risk", "Status"])
    {
        canvas.text(name, x, 30, BLACK);
    }
    let all = [
        ("V-1", vec!["Old protocol"], "Low", "open"),
        (
            "V-2",
            vec!["Code of others", "can be run by", "a message"],
            "High",
            "open",
        ),
        (
            "V-3",
            vec!["Weak password", "is allowed", "for services"],
            "High",
            "shut",
        ),
    ];
    for (at, (id, weakness, risk, status)) in (0..).zip(&all) {
        let middle = 100 + 90 * at;
        canvas.fill([30, middle - 45, 800, 1], LINE);
        for (x, cell) in [(columns[0], id), (columns[2], risk), (columns[3], status)] {
            canvas.text(cell, x, middle - 8, BLACK);
        }
        let top = middle - 10 * weakness.len() as u32;
        for (nth, part) in (0..).zip(weakness) {
            canvas.text(part, columns[1], top + 20 * nth + 2, BLACK);
        }
    }
    canvas.fill([30, 325, 800, 1], LINE);
    let layout = canvas.layout();
    let found = tables(&layout);
    let [(_, table)] = found.as_slice() else {
        panic!("expected one table: {:#?}", layout.lines());
    };
    let expected = [
        ["V-1", "Old protocol", "Low", "open"],
        [
            "V-2",
            "Code of others can be run by a message",
            "High",
            "open",
        ],
        [
            "V-3",
            "Weak password is allowed for services",
            "High",
            "shut",
        ],
    ];
    assert_eq!(rows(table), expected);
}

#[test]
fn the_same_names_again_begin_another_table() {
    let mut canvas = Canvas::new(960, 540, 1, WHITE);
    let names = ["Incident", "Owner", "Since"];
    canvas.sized("Open incidents", 40, 20, 20, BLACK);
    listing(
        &mut canvas,
        60,
        BLACK,
        &[
            names,
            ["Checkout slow", "anna", "2 h"],
            ["Mail late", "none", "5 h"],
        ],
    );
    canvas.sized("Resolved incidents", 40, 190, 20, BLACK);
    listing(
        &mut canvas,
        230,
        BLACK,
        &[
            names,
            ["Login errors", "ben", "1 d"],
            ["Disk full", "cleo", "3 d"],
        ],
    );
    let layout = canvas.layout();
    let found: Vec<_> = (tables(&layout).into_iter())
        .map(|(element, table)| {
            let title = element.title.as_ref().map(|title| title.text.as_str());
            (title, rows(table))
        })
        .collect();
    let expected = [
        (
            Some("Open incidents"),
            vec![
                vec!["Checkout slow", "anna", "2 h"],
                vec!["Mail late", "none", "5 h"],
            ],
        ),
        (
            Some("Resolved incidents"),
            vec![
                vec!["Login errors", "ben", "1 d"],
                vec!["Disk full", "cleo", "3 d"],
            ],
        ),
    ];
    assert_eq!(found, expected);
}

#[test]
fn entries_with_a_mark_are_no_paragraph() {
    let mut canvas = Canvas::new(960, 540, 1, WHITE);
    let all = [
        ("the name of the shop can be resolved", GREEN),
        ("the certificate ended three days ago", RED),
        ("the payment service answers in time", GREEN),
    ];
    for (at, (text, paint)) in (0..).zip(all) {
        let y = 40 + 22 * at;
        canvas.fill([40, y + 3, 10, 10], paint);
        canvas.text(text, 60, y, BLACK);
    }
    let layout = canvas.layout();
    let found: Vec<_> = (layout.elements.iter())
        .map(|element| match &element.content {
            ElementContent::Prose(text) => (text.text.as_str(), text.colour()),
            other => (other.kind(), StatusColour::None),
        })
        .collect();
    let colours = [StatusColour::Green, StatusColour::Red, StatusColour::Green];
    let expected: Vec<_> = all.iter().map(|entry| entry.0).zip(colours).collect();
    assert_eq!(found, expected);
}

#[test]
fn cells_with_borders_are_one_table() {
    let mut canvas = Canvas::new(960, 540, 1, WHITE);
    let edges = [20, 240, 380, 780, 900];
    let head = ["Finding", "Age", "Detail", "Severity"];
    let all = [
        (
            "Public bucket",
            "3 d",
            ["all of the internet can", "list and read its objects"],
            "Critical",
        ),
        (
            "Old access key",
            "412 d",
            ["made more than a year ago", "and was used yesterday"],
            "High",
        ),
        (
            "No flow logs",
            "9 d",
            ["traffic of this network", "leaves no trace at all"],
            "Medium",
        ),
    ];
    for x in edges {
        canvas.fill([x, 20, 2, 266], [150, 155, 160]);
    }
    for y in [20, 60, 135, 210, 284] {
        canvas.fill([20, y, 882, 2], [150, 155, 160]);
    }
    for (x, name) in edges.into_iter().zip(head) {
        canvas.text(name, x + 14, 34, BLACK);
    }
    for (at, (finding, age, detail, severity)) in (0..).zip(all) {
        let y = 72 + 75 * at;
        for (x, cell) in [(edges[0], finding), (edges[1], age), (edges[3], severity)] {
            canvas.text(cell, x + 14, y, BLACK);
        }
        for (nth, part) in (0..).zip(detail) {
            canvas.text(part, edges[2] + 14, y + 20 * nth, BLACK);
        }
    }
    let layout = canvas.layout();
    let found = tables(&layout);
    let [(_, table)] = found.as_slice() else {
        panic!("expected one table: {:#?}", layout.lines());
    };
    assert_eq!(table.head.as_deref().map(texts), Some(head.to_vec()));
    let details = all.map(|row| row.2.join(" "));
    for (row, (expected, detail)) in rows(table).iter().zip(all.iter().zip(&details)) {
        assert_eq!(row, &[expected.0, expected.1, detail, expected.3]);
    }
}

#[test]
fn a_command_after_a_table_is_none_of_its_rows() {
    let mut canvas = Canvas::new(960, 540, 1, BLACK);
    let grey = [210, 210, 210];
    let all = [
        ["UNIT", "LOAD", "ACTIVE SUB", "DESCRIPTION"],
        [
            "cron.service",
            "loaded",
            "active running",
            "Regular background work",
        ],
        [
            "web.service",
            "loaded",
            "failed failed",
            "Pages of the shop",
        ],
        ["ssh.service", "loaded", "active running", "Remote login"],
        [
            "log.service",
            "loaded",
            "active exited",
            "Journal of the host",
        ],
    ];
    for (at, row) in (0..).zip(all) {
        for (x, cell) in [20, 200, 290, 460].into_iter().zip(row) {
            canvas.text(cell, x, 40 + 20 * at, grey);
        }
    }
    canvas.text("$ systemctl status web.service", 20, 140, grey);
    let layout = canvas.layout();
    let found = tables(&layout);
    let [(_, table)] = found.as_slice() else {
        panic!("expected one table: {:#?}", layout.lines());
    };
    // One blank is between two of the columns.
    let head = ["UNIT", "LOAD", "ACTIVE", "SUB", "DESCRIPTION"];
    assert_eq!(table.head.as_deref().map(texts), Some(head.to_vec()));
    assert_eq!(table.rows.len(), 4, "{:?}", rows(table));
    let failed = [
        "web.service",
        "loaded",
        "failed",
        "failed",
        "Pages of the shop",
    ];
    assert_eq!(texts(&table.rows[1]), failed);
}

#[test]
fn two_toolbars_are_no_table() {
    let mut canvas = Canvas::new(960, 540, 1, WHITE);
    for (x, chip) in [
        (20, "Failed at step 3"),
        (220, "2.1 s"),
        (340, "Chromium"),
        (480, "mobile"),
        (600, "Mumbai"),
        (720, "Attempt 3"),
    ] {
        canvas.text(chip, x, 30, BLACK);
    }
    for (x, tab) in [(20, "Steps"), (220, "Proof"), (340, "Source")] {
        canvas.text(tab, x, 70, BLACK);
    }
    let layout = canvas.layout();
    assert!(tables(&layout).is_empty(), "{:#?}", layout.lines());
    assert!(
        layout
            .lines()
            .iter()
            .any(|line| line.text == "Failed at step 3")
    );
}

#[test]
fn a_highlighted_row_does_not_part_its_table() {
    let mut canvas = Canvas::new(480, 540, 1, WHITE);
    let all = [
        ["Node", "Version", "Load"],
        ["querier-0", "0.14.6", "12 %"],
        ["querier-1", "0.14.6", "17 %"],
        ["router-0", "0.14.6", "2 %"],
        ["router-1", "0.14.5", "96 %"],
        ["ingester-0", "0.14.6", "3 %"],
        ["ingester-1", "0.14.6", "34 %"],
    ];
    canvas.fill([0, 196, 480, 66], [219, 234, 254]);
    for (at, row) in (0..).zip(all) {
        let y = 30 + 48 * at + if at == 4 { 6 } else { 0 } + if at > 4 { 12 } else { 0 };
        for (x, cell) in [20, 200, 340].into_iter().zip(row) {
            canvas.text(cell, x, y, BLACK);
        }
    }
    let layout = canvas.layout();
    let found = tables(&layout);
    let [(_, table)] = found.as_slice() else {
        panic!("expected one table: {:#?}", layout.lines());
    };
    assert_eq!(
        rows(table),
        all[1..].iter().map(|row| row.to_vec()).collect::<Vec<_>>()
    );
}

#[test]
fn tables_side_by_side_on_one_surface_are_two() {
    let nodes = [
        ["Node", "Role", "Lag"],
        ["db-0", "primary", "0 s"],
        ["db-1", "replica", "912 s"],
        ["db-2", "replica", "1 s"],
    ];
    let jobs = [
        ["Job", "Runs", "Owner"],
        ["vacuum", "12", "data"],
        ["backup", "340", "ops"],
        ["reindex", "2", "data"],
    ];
    let draw = |titles: &[(&str, u32)], jobs: &[[&str; 3]]| {
        let mut canvas = Canvas::new(960, 540, 1, WHITE);
        for (title, x) in titles {
            canvas.sized(title, *x, 40, 22, BLACK);
        }
        for (at, row) in (0..).zip(nodes) {
            for (x, cell) in [40, 180, 320].into_iter().zip(row) {
                canvas.text(cell, x, 90 + 36 * at, BLACK);
            }
        }
        for (at, row) in (0..).zip(jobs) {
            for (x, cell) in [520, 680, 800].into_iter().zip(row) {
                canvas.text(cell, x, 90 + 36 * at, BLACK);
            }
        }
        let layout = canvas.layout();
        let found = tables(&layout).into_iter().map(|(element, table)| {
            let title = element.title.as_ref().map(|title| title.text.clone());
            let head = table.head.as_deref().map(|head| texts(head).join(" "));
            (title, head, table.rows.len())
        });
        found.collect::<Vec<_>>()
    };
    let told =
        |title: &str, head: &str, rows| (Some(title.to_owned()), Some(head.to_owned()), rows);
    assert_eq!(
        draw(&[("Replicas", 40), ("Maintenance", 520)], &jobs),
        [
            told("Replicas", "Node Role Lag", 3),
            told("Maintenance", "Job Runs Owner", 3)
        ]
    );
    // One title is that of one table.
    assert_eq!(
        draw(&[("Replicas", 40)], &jobs),
        [told("Replicas", "Node Role Lag Job Runs Owner", 3)]
    );
}

#[test]
fn details_at_the_right_are_content_and_a_menu_there_is_none() {
    let draw = |entries: [[&str; 2]; 6]| {
        let mut canvas = Canvas::new(960, 540, 1, WHITE);
        listing(&mut canvas, 60, BLACK, &BUCKETS);
        canvas.fill([760, 0, 200, 540], [232, 236, 242]);
        for (at, row) in (0..).zip(entries) {
            for (x, text) in [772, 860].into_iter().zip(row) {
                if !text.is_empty() {
                    canvas.text(text, x, 60 + 76 * at, BLACK);
                }
            }
        }
        canvas.layout()
    };
    let menu = draw([
        ["Summary", ""],
        ["Access", ""],
        ["Objects", ""],
        ["Rules", ""],
        ["Tags", ""],
        ["History", ""],
    ]);
    assert_eq!(on(&menu, PanelRole::Sidebar).len(), 6);
    let details = draw([
        ["exports", ""],
        ["Owner", "data"],
        ["Access", "Public"],
        ["Region", "eu-1"],
        ["Objects", "8120"],
        ["Size", "4 TB"],
    ]);
    assert_eq!(on(&details, PanelRole::Sidebar), Vec::<&str>::new());
    assert!(on(&details, PanelRole::Main).contains(&"key_values"));
}

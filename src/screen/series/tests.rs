use super::*;
use crate::layout::{Card, LogLine, PanelRole};

fn text(text: &str) -> ElementText {
    ElementText {
        text: text.to_owned(),
        rect: Rect {
            x: 100,
            y: 50,
            width: 200,
            height: 10,
        },
        ..ElementText::default()
    }
}

fn element(content: ElementContent, title: Option<&str>) -> Element {
    Element {
        content,
        rect: Rect {
            x: 0,
            y: 0,
            width: 1,
            height: 1,
        },
        lines: Vec::new(),
        panel: PanelRole::Main,
        surface: Rect::default(),
        title: title.map(text),
    }
}

fn card(label: &str, value: &str) -> ElementContent {
    ElementContent::Card(Card {
        label: text(label),
        value: text(value),
        note: Some(text("usual: 2")),
    })
}

fn table(rows: &[&[&str]]) -> ElementContent {
    let cells = |row: &&[&str]| row.iter().map(|cell| text(cell)).collect::<Vec<_>>();
    ElementContent::Table(Table {
        head: rows.first().map(cells),
        rows: rows.iter().skip(1).map(cells).collect(),
    })
}

fn numbers(elements: Vec<Element>) -> Vec<ScreenNumber> {
    numbers_in(&Layout {
        width: 1000,
        height: 500,
        panels: Vec::new(),
        elements,
    })
}

/// Place, label and value of each number.
fn read(elements: Vec<Element>) -> Vec<(String, String, String)> {
    let shown = |number: ScreenNumber| {
        let value = number.quantity.to_string();
        (number.place, number.label, value)
    };
    numbers(elements).into_iter().map(shown).collect()
}

fn owned(rows: &[(&str, &str, &str)]) -> Vec<(String, String, String)> {
    let owned =
        |(a, b, c): &(&str, &str, &str)| ((*a).to_owned(), (*b).to_owned(), (*c).to_owned());
    rows.iter().map(owned).collect()
}

#[test]
fn cards_pairs_and_lines_are_series() {
    let pairs = ElementContent::KeyValues(vec![
        KeyValue {
            key: text("Replicas"),
            value: text("3"),
        },
        KeyValue {
            key: text("Version"),
            value: text("1.27.3"),
        },
        KeyValue {
            key: text("Uptime"),
            value: text("3d 4h"),
        },
    ]);
    let log = ElementContent::LogLine(LogLine {
        time: None,
        level: None,
        source: None,
        message: "took 3 s".to_owned(),
        text: text("took: 3 s"),
    });
    let elements = vec![
        element(card("p99 latency", "4.8 s ▲ 1.2 s"), None),
        element(card("Failed logins, 1 minute", "48"), Some("SSH")),
        element(card("Owner", "maria"), None),
        element(pairs, Some("checkout-api")),
        element(ElementContent::Badge(text("12 failed checks")), None),
        element(ElementContent::Prose(text("Error rate: 12.4 %")), None),
        element(
            ElementContent::Prose(text("p99 latency 4.8 s is above the limit of 800 ms")),
            None,
        ),
        element(ElementContent::Prose(text("3 days ago")), None),
        element(ElementContent::Prose(text("Failed logins, 1 minute")), None),
        element(log, None),
        element(ElementContent::Code(text("retries = 3")), None),
    ];
    assert_eq!(
        read(elements),
        owned(&[
            ("card", "p99 latency", "4.8 s"),
            ("card SSH", "Failed logins, 1 minute", "48"),
            ("key_values checkout-api", "Replicas", "3"),
            ("key_values checkout-api", "Uptime", "3.167 d"),
            ("badge", "failed checks", "12"),
            ("prose", "Error rate", "12.4 %"),
        ])
    );
}

#[test]
fn cells_are_labelled_by_their_row_and_column() {
    let services = table(&[
        &["State", "Service", "Errors", "p99", "Version"],
        &["FIRING", "checkout", "12.4 %", "4.8 s", "1.2.3"],
        &["FIRING", "cart", "0.1 %", "—", "1.2.4"],
    ]);
    assert_eq!(
        read(vec![element(services, Some("Services"))]),
        owned(&[
            ("table Services", "checkout · Errors", "12.4 %"),
            ("table Services", "checkout · p99", "4.8 s"),
            ("table Services", "cart · Errors", "0.1 %"),
        ])
    );
    // Rows that nothing tells apart are events.
    let events = table(&[
        &["Time", "User", "Failures"],
        &["08:14:22", "admin", "3"],
        &["08:14:23", "admin", "4"],
    ]);
    assert_eq!(read(vec![element(events, None)]), []);
}

#[test]
fn a_limit_is_not_the_label_of_what_it_limits() {
    let of = |label: &str, note: &str, value: &str| {
        let card = ElementContent::Card(Card {
            label: text(label),
            value: text(value),
            note: Some(text(note)),
        });
        read(vec![element(card, None)])
    };
    let rate = owned(&[("card", "5xx error rate", "12.4 %")]);
    assert_eq!(of("limit 1%", "5xx error rate", "12.4%"), rate);
    assert_eq!(of("5xx error rate", "limit 1%", "12.4%"), rate);
    let logins = owned(&[("card", "Failed logins, 1 minute", "48")]);
    assert_eq!(of("Failed logins, 1 minute", "usual: 2", "48"), logins);
}

#[test]
fn thousandths_of_a_processor_are_no_minutes() {
    let pods = table(&[
        &["Name", "CPU", "Age"],
        &["checkout", "250m", "12m"],
        &["cart", "1", "3d"],
    ]);
    assert_eq!(
        read(vec![element(pods, None)]),
        owned(&[
            ("table", "checkout · CPU", "0.25"),
            ("table", "checkout · Age", "12 min"),
            ("table", "cart · CPU", "1"),
            ("table", "cart · Age", "3 d"),
        ])
    );
}

#[test]
fn equal_places_are_told_apart_by_order_and_count() {
    let cards = |values: &[&str]| {
        let cards = values
            .iter()
            .map(|value| element(card("Errors", value), None));
        read(cards.collect())
    };
    assert_eq!(
        cards(&["1", "2"]),
        owned(&[("card-1/2", "Errors", "1"), ("card-2/2", "Errors", "2")])
    );
    assert_eq!(cards(&["2"]), owned(&[("card", "Errors", "2")]));
    // Another unit is another series.
    assert_eq!(
        cards(&["2", "2 %"]),
        owned(&[("card", "Errors", "2"), ("card", "Errors", "2 %")])
    );
}

#[test]
fn a_key_is_the_same_however_it_was_read() {
    let key = |place, label| series_key(place, label, Unit::None);
    assert_eq!(
        key("card Log1ns", "Fai1ed logins"),
        key("card Logins", "Failed Iogins:")
    );
    assert_ne!(key("card-1/2", "Errors"), key("card-2/2", "Errors"));
    assert_ne!(key("card", "web-1 · CPU"), key("card", "web-2 · CPU"));
    assert_ne!(
        series_key("card", "CPU", Unit::Percent),
        series_key("card", "CPU", Unit::None)
    );
}

#[test]
fn a_secret_is_never_a_label_and_its_row_no_series() {
    let masked = [
        element(card("[masked password]", "48"), None),
        element(card("api key [masked API key]", "48"), None),
        element(ElementContent::Prose(text("[masked token]: 5")), None),
    ];
    assert_eq!(read(masked.to_vec()), []);
    let titled = element(card("Errors", "4"), Some("[masked password]"));
    assert_eq!(read(vec![titled]), owned(&[("card", "Errors", "4")]));
}

#[test]
fn quotes_have_their_place_on_the_picture() {
    let numbers = numbers(vec![element(card("Errors", "48"), None)]);
    let quotes: Vec<_> = numbers[0].quotes.iter().map(|q| q.text.as_str()).collect();
    assert_eq!(quotes, ["Errors", "48"]);
    assert_eq!(numbers[0].quotes[1].bounds, [100, 100, 120, 300]);
}

#[test]
fn a_hostile_screen_has_no_more_than_the_limit() {
    let many = (0..2000).map(|nth| {
        let letters = ["a", "b", "c", "d"];
        let name: String = (0..6).map(|at| letters[(nth >> (2 * at)) & 3]).collect();
        element(card(&name, "1"), None)
    });
    assert_eq!(numbers(many.collect()).len(), MOST_NUMBERS);
}

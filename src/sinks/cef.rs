//! Event in the Common Event Format (ArcSight, "Implementing ArcSight Common
//! Event Format", revision 25), derived from OCSF.
//!
//! In the header `\` and `|` are escaped, in extensions `\`, `=` and line
//! breaks; whatever text the screen holds, the event stays one line with the
//! same fields.

use watchtower_domain::finding::printable;

use super::SinkEvent;
use super::ecs::quotes;

/// Maximum characters of a value; collectors truncate longer ones (`msg` has
/// 1,023).
const LONGEST: usize = 1000;

pub(super) fn event(sink_event: &SinkEvent) -> String {
    let from = &sink_event.ocsf;
    let info = &from["finding_info"];
    let name = info["types"][0].as_str().unwrap_or("incident");
    let header = [
        "Watchtower",
        "Watchtower",
        env!("CARGO_PKG_VERSION"),
        name,
        &sink_event.title,
    ];
    let header: Vec<_> = header.iter().map(|text| head(text)).collect();
    // Severity, 0 to 10.
    let severity = match sink_event.severity.as_str() {
        "critical" => 10,
        "high" => 8,
        "medium" => 5,
        "low" => 3,
        _ => 1,
    };
    let mut line = format!("CEF:0|{}|{severity}|", header.join("|"));
    let mut first = true;
    let mut put = |key: &str, text: &str| {
        if !text.is_empty() {
            let blank = if first { "" } else { " " };
            first = false;
            line.push_str(&format!("{blank}{key}={}", value(text)));
        }
    };
    put("externalId", &sink_event.id.to_string());
    put("rt", &sink_event.at.as_millisecond().to_string());
    put("start", &from["start_time"].to_string());
    put("end", &from["end_time"].to_string());
    put("cnt", &sink_event.count.to_string());
    put("act", sink_event.change.as_str());
    put("outcome", sink_event.status.as_str());
    put("msg", info["desc"].as_str().unwrap_or(&sink_event.title));
    put("reason", from["status_detail"].as_str().unwrap_or_default());
    let mut custom = |number: u8, label: &str, text: &str| {
        if !text.is_empty() {
            put(&format!("cs{number}Label"), label);
            put(&format!("cs{number}"), text);
        }
    };
    custom(1, "incident", &sink_event.incident.to_string());
    custom(2, "stream", &sink_event.stream);
    custom(3, "agents", &sink_event.agents.join(", "));
    custom(
        4,
        "quote",
        quotes(from).first().copied().unwrap_or_default(),
    );
    let analytic = &info["analytic"];
    let model =
        [&analytic["uid"], &analytic["version"]].map(|text| text.as_str().unwrap_or_default());
    custom(5, "model", model.join(" ").trim());
    let attacks = info["attacks"].as_array().into_iter().flatten();
    let ids = attacks.filter_map(|attack| {
        let sub = attack["sub_technique"]["uid"].as_str();
        sub.or(attack["technique"]["uid"].as_str())
    });
    custom(6, "attack", &ids.collect::<Vec<_>>().join(", "));
    let observables = from["observables"].as_array().into_iter().flatten();
    let mut seen = Vec::new();
    for observable in observables {
        let key = match observable["type_id"].as_u64() {
            Some(2) => "src",
            Some(1) => "dhost",
            Some(4) => "suser",
            Some(8) => "fileHash",
            _ => continue,
        };
        // An extension occurs once, with the first of its kind. By the
        // specification `src` is IPv4.
        let text = observable["value"].as_str().unwrap_or_default();
        let six = key == "src" && text.contains(':');
        if !six && !seen.contains(&key) {
            seen.push(key);
            put(key, text);
        }
    }
    if let Some(fields) = from["unmapped"]["fields"].as_object() {
        for (key, text) in fields {
            let key: String = key.chars().filter(char::is_ascii_alphanumeric).collect();
            put(&key, text.as_str().unwrap_or_default());
        }
    }
    line
}

fn head(text: &str) -> String {
    let short: String = printable(text).chars().take(LONGEST).collect();
    short.replace('\\', "\\\\").replace('|', "\\|")
}

fn value(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars().take(LONGEST) {
        match c {
            '\\' => escaped.push_str("\\\\"),
            '=' => escaped.push_str("\\="),
            '\n' => escaped.push_str("\\n"),
            '\r' => escaped.push_str("\\r"),
            c if c.is_control() => escaped.push(' '),
            c => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_ends_no_field_and_no_line() {
        assert_eq!(value("a=b\\c\r\nd|e\u{1b}"), "a\\=b\\\\c\\r\\nd|e ");
        assert_eq!(head("a|b\\c\nd=e"), "a\\|b\\\\c d=e");
        // Truncated before escaping, so that no escape sequence is split.
        assert!(!value(&"=".repeat(5000)).ends_with("\\\\"));
        let long = head(&"|".repeat(5000));
        assert!(long.ends_with("\\|"), "{}", &long[long.len() - 5..]);
    }
}

//! Event in the Elastic Common Schema (8.17), derived from OCSF.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::SinkEvent;

const VERSION: &str = "8.17.0";

pub(super) fn event(sink_event: &SinkEvent) -> Value {
    let from = &sink_event.ocsf;
    let info = &from["finding_info"];
    let mut event = Map::new();
    let mut put = |key: &str, value: Value| {
        if !value.is_null() {
            event.insert(key.to_owned(), value);
        }
    };
    put("@timestamp", time(&from["time"]));
    put("ecs", json!({ "version": VERSION }));
    put("message", from["message"].clone());
    put("tags", json!(["watchtower", sink_event.change.as_str()]));
    put(
        "event",
        json!({
            "id": sink_event.id,
            "kind": "alert",
            "category": ["threat"],
            "type": ["indicator"],
            "action": sink_event.change.as_str(),
            "module": "watchtower",
            "dataset": "watchtower.incident",
            "severity": from["severity_id"],
            "start": time(&from["start_time"]),
            "end": time(&from["end_time"]),
            "reason": info["desc"],
            "provider": info["analytic"]["name"],
        }),
    );
    put(
        "rule",
        json!({
            "name": info["title"],
            "category": info["types"][0],
            "author": info["analytic"]["name"],
            "version": info["analytic"]["version"],
            "ruleset": info["analytic"]["uid"],
            "uuid": info["uid"],
        }),
    );
    put(
        "observer",
        json!({
            "vendor": "Watchtower",
            "product": "Watchtower",
            "version": env!("CARGO_PKG_VERSION"),
            "type": "screen",
        }),
    );
    let of_kind = |id: u64| -> BTreeSet<&str> {
        let all = from["observables"].as_array().into_iter().flatten();
        all.filter(|observable| observable["type_id"] == id)
            .filter_map(|observable| observable["value"].as_str())
            .collect()
    };
    let related = json!({
        "ip": of_kind(2), "hosts": of_kind(1), "user": of_kind(4), "hash": of_kind(8),
    });
    put("related", related);
    let attacks = info["attacks"].as_array();
    if let Some(attacks) = attacks {
        let all = |object: &str, key: &str| -> Vec<&Value> {
            let mut all = Vec::new();
            for attack in attacks {
                let value = &attack[object][key];
                if !value.is_null() && !all.contains(&value) {
                    all.push(value);
                }
            }
            all
        };
        let both = |object| json!({ "id": all(object, "uid"), "name": all(object, "name") });
        let mut technique = both("technique");
        technique["subtechnique"] = both("sub_technique");
        put(
            "threat",
            json!({
                "framework": "MITRE ATT&CK",
                "technique": technique,
                "tactic": both("tactic"),
            }),
        );
    }
    let cves = of_kind(18);
    if !cves.is_empty() {
        put("vulnerability", json!({ "id": cves }));
    }
    put("labels", from["unmapped"]["fields"].clone());
    put(
        "watchtower",
        json!({
            "incident": sink_event.incident,
            "status": sink_event.status,
            "severity": sink_event.severity,
            "confidence": from["confidence_score"],
            "count": sink_event.count,
            "stream": sink_event.stream,
            "agents": sink_event.agents,
            "quotes": quotes(from),
            "recommended_action": from["remediation"]["desc"],
            "decision": from["status_detail"],
        }),
    );
    Value::Object(event)
}

/// Quotes of the screen's text, without empty ones.
pub(super) fn quotes(from: &Value) -> Vec<&str> {
    let pieces = from["evidences"].as_array().into_iter().flatten();
    let quotes = pieces.filter_map(|piece| piece["data"]["quote"].as_str());
    quotes.filter(|quote| !quote.is_empty()).collect()
}

fn time(millis: &Value) -> Value {
    let at = millis.as_i64().map(Timestamp::from_millisecond);
    at.and_then(Result::ok).map_or(Value::Null, |at| json!(at))
}

//! Every event is valid by the published schema; the validator rejects an
//! invalid one.

use serde_json::{Value, json};
use watchtower::domain::finding::Severity;

use crate::sinks::files::lines;
use crate::sinks::harness::{SinkHarness, brute_force, numbered, python};

#[tokio::test]
async fn every_event_is_valid_and_a_mutated_one_is_not() {
    // On a busy machine events beyond one window's limit go into the next ones;
    // not all of these do.
    let harness = SinkHarness::with(
        "[sinks.file]\nkind = 'jsonl'\naddress = 'FOLDER/out.jsonl'\nwhat = 'findings'\nrate = '20/10s'\n[sinks.file.fields]\nenv = 'prod'",
    )
    .await;
    harness.incident_lifecycle().await;
    for severity in Severity::ALL {
        harness.finding(brute_force("AISec", severity)).await;
    }
    let mut plain = numbered(1);
    plain.evidence.clear();
    plain.mitre.clear();
    plain.confidence = 0.1;
    plain.recommended_action.clear();
    plain.model.provider = "offline".to_owned();
    harness.finding(plain).await;
    let mut hash = numbered(2);
    hash.evidence[0].quote = format!("sha256 {} user=bob host=web-01 s3://b", "e3".repeat(32));
    harness.finding(hash).await;
    for number in 3..60 {
        harness.finding(numbered(number)).await;
    }
    harness.caught_up("file").await;
    let events = lines(&harness.dir.path().join("out.jsonl"));
    let of = |activity: u64| {
        events
            .iter()
            .filter(|event| event["activity_id"] == activity)
            .count()
    };
    assert!(
        of(1) > 2 && of(2) > 2 && of(3) == 1 && of(99) >= 1,
        "{} {} {} {}",
        of(1),
        of(2),
        of(3),
        of(99)
    );
    let verdicts = python("ocsf.py", json!(events).to_string().as_bytes()).await;
    for (event, faults) in events.iter().zip(verdicts.as_array().unwrap()) {
        assert_eq!(faults, &json!([]), "{event:#}");
    }
    let first = &events[0];
    let attacks = first["finding_info"]["attacks"].as_array().unwrap();
    assert_eq!(attacks.len(), 3);
    for (attack, sub) in attacks.iter().zip([None, Some("Password Guessing")]) {
        assert_eq!(attack["tactic"]["name"], "Credential Access");
        assert_eq!(attack["technique"]["name"], "Brute Force");
        assert_eq!(attack["sub_technique"]["name"].as_str(), sub);
    }
    assert_eq!(first["unmapped"]["fields"]["env"], "prod");
    assert!(
        first["observables"]
            .as_array()
            .unwrap()
            .iter()
            .any(|one| one["value"] == "203.0.113.45")
    );
    assert_eq!(first["vulnerabilities"][0]["cve"]["uid"], "CVE-2024-3094");

    let mutations: [fn(&mut Value); 6] = [
        |event| event["severity_id"] = json!(7),
        |event| event["type_uid"] = json!(200_499 + 1),
        |event| event["color"] = json!("red"),
        |event| event["evidences"][0] = json!({ "name": "screen" }),
        |event| event["time"] = json!("today"),
        |event| {
            event.as_object_mut().unwrap().remove("finding_info");
        },
    ];
    let mutated: Vec<Value> = mutations
        .iter()
        .map(|mutate| {
            let mut event = first.clone();
            mutate(&mut event);
            event
        })
        .collect();
    let verdicts = python("ocsf.py", json!(mutated).to_string().as_bytes()).await;
    for (event, faults) in mutated.iter().zip(verdicts.as_array().unwrap()) {
        assert!(!faults.as_array().unwrap().is_empty(), "{event:#}");
    }
}

use proptest::prelude::*;
use serde_json::json;

use super::*;

fn good() -> Value {
    json!({
        "evidence": "export TOKEN=abc", "box_2d": [120, 40, 180, 610],
        "category": "secret_exposure", "title": "Token on screen", "detail": "d",
        "mitre_techniques": ["T1552.001"], "severity": "high", "confidence": 0.82,
        "recommended_action": "Rotate it."
    })
}

fn one(change: impl FnOnce(&mut Value)) -> Result<Findings, Unusable> {
    let mut finding = good();
    change(&mut finding);
    parse(&json!({ "findings": [finding] }).to_string())
}

fn kept(change: impl FnOnce(&mut Value)) -> Observation {
    let mut findings = one(change).expect("usable");
    assert_eq!(findings.dropped, 0);
    findings.observations.remove(0)
}

#[test]
fn valid_finding_is_kept_whole() {
    assert_eq!(
        kept(|_| {}),
        Observation {
            severity: Severity::High,
            confidence: 0.82,
            category: Category::SecretExposure,
            title: "Token on screen".to_owned(),
            detail: "d".to_owned(),
            evidence: vec![Evidence {
                quote: "export TOKEN=abc".to_owned(),
                bounds: Some([120, 40, 180, 610]),
                grounded: None,
            }],
            mitre: vec!["T1552.001".to_owned()],
            recommended_action: "Rotate it.".to_owned(),
        }
    );
}

#[test]
fn only_an_empty_list_is_no_finding() {
    assert_eq!(parse(r#"{"findings":[]}"#), Ok(Findings::default()));
    assert_eq!(
        parse(r#" {"findings":[],"note":"all quiet"} "#),
        Ok(Findings::default())
    );
    for (text, why) in [
        ("", Unusable::NotJson),
        ("nothing to report", Unusable::NotJson),
        (r#"{"findings":["#, Unusable::NotJson),
        (r#"{"findings":[]} {"findings":[]}"#, Unusable::NotJson),
        ("{}", Unusable::Shape),
        ("[]", Unusable::Shape),
        ("null", Unusable::Shape),
        (r#"{"findings":null}"#, Unusable::Shape),
        (r#"{"findings":{}}"#, Unusable::Shape),
        (r#"{"Findings":[]}"#, Unusable::Shape),
        (r#"{"findings":[1,"x"]}"#, Unusable::AllDropped(2)),
    ] {
        assert_eq!(parse(text), Err(why), "{text:?}");
    }
    let deep = "[".repeat(100_000);
    assert_eq!(parse(&deep), Err(Unusable::NotJson));
}

#[test]
fn fence_is_removed_only_around_all_of_it() {
    for fenced in [
        "```json\n{\"findings\":[]}\n```",
        "```\n{\"findings\":[]}\n```",
        "\n ```JSON\n{\"findings\":[]}```\n",
    ] {
        assert_eq!(parse(fenced), Ok(Findings::default()), "{fenced:?}");
    }
    for around in [
        "Sure:\n```json\n{\"findings\":[]}\n```",
        "```json\n{\"findings\":[]}\n``` done",
        "Of {these} none: {\"findings\":[]}",
    ] {
        assert_eq!(parse(around), Ok(Findings::default()), "{around:?}");
    }
    for other in [
        "```json\n{\"findings\":[]}\n```\n```json\n{}\n```",
        "```",
        "``````",
        "```json```",
    ] {
        assert_eq!(parse(other), Err(Unusable::NotJson), "{other:?}");
    }
    let inside = kept(|f| f["evidence"] = json!("```sh\nrm -rf /\n```"));
    assert_eq!(inside.evidence[0].quote, "```sh rm -rf / ```");
}

#[test]
fn lone_surrogate_loses_no_finding() {
    let text = json!({"findings": [good(), good()]}).to_string();
    let text = text.replacen("Token on screen", r"fire \ud83d \\ud83d \ud83d\ude00", 1);
    let findings = parse(&text).unwrap();
    assert_eq!(findings.observations.len(), 2);
    assert_eq!(
        findings.observations[0].title,
        "fire \u{FFFD} \\ud83d \u{1F600}"
    );
}

#[test]
fn invalid_findings_are_dropped_and_counted() {
    let bad = [
        json!({"severity": "catastrophic"}),
        json!({"severity": null}),
        json!({"confidence": "very"}),
        json!({"confidence": null}),
        json!({"title": ""}),
        json!({"title": "\u{1b}\u{200b} "}),
        json!({"title": 7}),
    ];
    for change in bad {
        let result = one(|finding| {
            for (field, value) in change.as_object().unwrap() {
                finding[field] = value.clone();
            }
        });
        assert_eq!(result, Err(Unusable::AllDropped(1)), "{change}");
    }
    let mixed = json!({"findings": [good(), {"title": "no more"}, 5, good()]});
    let findings = parse(&mixed.to_string()).unwrap();
    assert_eq!((findings.observations.len(), findings.dropped), (2, 2));
}

#[test]
fn findings_above_the_limit_are_dropped_and_counted() {
    let many = json!({"findings": vec![good(); MAX_FINDINGS + 3]});
    let findings = parse(&many.to_string()).unwrap();
    assert_eq!(
        (findings.observations.len(), findings.dropped),
        (MAX_FINDINGS, 3)
    );
}

#[test]
fn values_are_clamped() {
    for (given, kept_as) in [
        (json!(82), 0.82),
        (json!("0.9"), 0.9),
        (json!("85 %"), 0.85),
        (json!(30), 0.3),
        (json!(1), 1.0),
        (json!(900), 1.0),
        (json!("High"), 0.9),
    ] {
        let confidence = kept(|f| f["confidence"] = given.clone()).confidence;
        assert_eq!(confidence, kept_as, "{given}");
    }
    assert_eq!(kept(|f| f["confidence"] = json!(-0.5)).confidence, 0.0);
    assert_eq!(
        kept(|f| f["severity"] = json!(" HIGH ")).severity,
        Severity::High
    );
    for (word, severity) in [
        ("Moderate", Severity::Medium),
        ("informational", Severity::Info),
        ("error", Severity::High),
        ("emergency", Severity::Critical),
    ] {
        assert_eq!(kept(|f| f["severity"] = json!(word)).severity, severity);
    }
    assert_eq!(
        kept(|f| f["category"] = json!("brand_new")).category,
        Category::Other
    );
    let long = kept(|f| f["title"] = json!("é".repeat(81)));
    assert_eq!(long.title.chars().count(), MAX_TITLE);
    assert!(long.title.ends_with('…'));
    let exact = kept(|f| f["title"] = json!("é".repeat(80)));
    assert!(!exact.title.ends_with('…'));
    let wordy = kept(|f| f["detail"] = json!("x".repeat(1 << 16)));
    assert_eq!(wordy.detail.chars().count(), MAX_TEXT);
    let steered = kept(|f| f["title"] = json!("a\u{1b}]0;pwn\u{7}\nb\u{202e}c"));
    assert_eq!(steered.title, "a]0;pwn bc");
}

#[test]
fn box_is_four_numbers_with_an_area() {
    for (given, expected) in [
        (json!([0, 0, 1000, 1000]), Some([0, 0, 1000, 1000])),
        (json!([1.0, 2.0, 3.0, 4.0]), Some([1, 2, 3, 4])),
        (json!([]), None),
        (json!([0, 0, 0, 0]), None),
        (json!([1, 2, 3]), None),
        (json!([1, 2, 3, 4, 5]), None),
        (json!([180, 40, 120, 610]), None),
        (json!([0, 0, 1001, 10]), None),
        (json!([-1, 0, 10, 10]), None),
        (json!([0, 0, "10", 10]), None),
        (json!("120,40,180,610"), None),
    ] {
        let observation = kept(|f| f["box_2d"] = given.clone());
        assert_eq!(observation.evidence[0].bounds, expected, "{given}");
    }
    let nowhere = kept(|f| {
        f["box_2d"] = json!([]);
        f["evidence"] = json!("");
    });
    assert_eq!(nowhere.evidence, []);
}

#[test]
fn list_of_quotes_is_evidence_and_the_box_the_first_ones() {
    let given = json!(["one", {"quote": "two"}, "", 5, {"text": "three"}, "four", "five"]);
    let evidence = kept(|f| f["evidence"] = given).evidence;
    let quotes: Vec<_> = evidence.iter().map(|proof| proof.quote.as_str()).collect();
    assert_eq!(quotes, ["one", "two", "three", "four"]);
    let boxed: Vec<_> = evidence
        .iter()
        .map(|proof| proof.bounds.is_some())
        .collect();
    assert_eq!(boxed, [true, false, false, false]);
}

#[test]
fn bare_list_of_findings_is_accepted() {
    let bare = json!([good(), good()]).to_string();
    assert_eq!(parse(&bare).unwrap().observations.len(), 2);
    assert_eq!(parse(&good().to_string()).unwrap().observations.len(), 1);
    assert_eq!(parse("[1]"), Err(Unusable::Shape));
}

#[test]
fn invalid_technique_ids_are_dropped() {
    let given = json!([
        "T1552.001",
        " T1110 ",
        "T1110",
        "t1110",
        "T11",
        "TA0001",
        "T1552.1",
        "T1552.001x",
        5,
        null
    ]);
    assert_eq!(
        kept(|f| f["mitre_techniques"] = given).mitre,
        ["T1552.001", "T1110"]
    );
    assert_eq!(
        kept(|f| f["mitre_techniques"] = json!("T1110")).mitre,
        Vec::<String>::new()
    );
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        ".{0,90}".prop_map(Value::from),
        prop::sample::select(vec!["high", "info", "other", "T1110"]).prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 64, 8, |inner| {
        let field = prop_oneof![
            prop::sample::select(vec![
                "findings",
                "severity",
                "confidence",
                "title",
                "box_2d",
                "evidence",
                "mitre_techniques",
                "category",
            ])
            .prop_map(str::to_owned),
            ".{0,8}",
        ];
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..12).prop_map(Value::from),
            prop::collection::vec((field, inner), 0..9)
                .prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn parsed_values_are_within_bounds(
        items in prop::collection::vec(any_json(), 0..12),
        title in ".{0,200}",
        confidence: f64,
    ) {
        let mut items = items;
        items.push(json!({"severity": "low", "title": title, "confidence": confidence}));
        let count = items.len();
        let answer = json!({ "findings": items }).to_string();
        match parse(&answer) {
            Ok(findings) => {
                prop_assert_eq!(findings.observations.len() + findings.dropped as usize, count);
                prop_assert!(!findings.observations.is_empty());
                for seen in findings.observations {
                    prop_assert!((0.0..=1.0).contains(&seen.confidence));
                    prop_assert!((1..=MAX_TITLE).contains(&seen.title.chars().count()));
                    prop_assert_eq!(&*printable(&seen.title), &seen.title);
                }
            }
            Err(why) => prop_assert_eq!(why, Unusable::AllDropped(count as u32)),
        }
    }

    #[test]
    fn arbitrary_text_does_not_panic(value in any_json(), text: String) {
        let _ = parse(&value.to_string());
        let _ = parse(&text);
    }
}

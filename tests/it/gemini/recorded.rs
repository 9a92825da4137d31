//! Recorded responses: the result of each, and that none of them panics when
//! damaged.

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;
use watchtower::models::gemini::{Gemini, read_anything};
use watchtower::models::model::Fatal;

use super::{Expected, assert_expected, observe, question, settings};
use crate::common::gemini::{CannedReply, FakeGemini, fixture};

/// Expected results of each recorded response over consecutive frames, and the
/// number of requests. A response that calls for a resend is returned again.
fn expectations() -> BTreeMap<&'static str, (Vec<Expected>, usize)> {
    use Expected::{Fatal as Stop, NoAnswer, RateLimited, Refused, TheFinding, Transient};
    let web_page = NoAnswer("a web page");
    let once = |expected| (vec![expected], 1);
    let twice = |expected| (vec![expected], 2);
    BTreeMap::from([
        (
            "resp-429-then-ok",
            (vec![RateLimited(Some(2.5)), TheFinding], 2),
        ),
        (
            "resp-503-then-ok",
            (vec![Transient("server error (503)"), TheFinding], 2),
        ),
        ("resp-continuation", twice(TheFinding)),
        ("resp-empty-candidates", once(NoAnswer("no candidate"))),
        ("resp-empty-object", once(NoAnswer("no candidate"))),
        (
            "resp-err-400-api-key",
            once(Stop(Fatal::Key, "key refused (400)")),
        ),
        (
            "resp-err-400-argument",
            once(Stop(Fatal::Request, "Unknown name \"foo\"")),
        ),
        ("resp-err-400-region", once(Stop(Fatal::Key, "region"))),
        ("resp-err-401", once(Stop(Fatal::Key, "key refused (401)"))),
        ("resp-err-403", once(Stop(Fatal::Key, "reported as leaked"))),
        (
            "resp-err-404",
            once(Stop(Fatal::Model, "model gemini-3.8-flash not found")),
        ),
        ("resp-err-413-html", twice(Stop(Fatal::Request, "too big"))),
        ("resp-err-429-bare", once(RateLimited(None))),
        (
            "resp-err-429-retry-after-header",
            once(RateLimited(Some(2.0))),
        ),
        ("resp-err-429-retryinfo", once(RateLimited(Some(2.5)))),
        ("resp-err-429-retryinfo-30s", once(RateLimited(Some(30.0)))),
        ("resp-err-500", once(Transient("server error (500)"))),
        ("resp-err-502-html", once(Transient("server error (502)"))),
        ("resp-err-503", once(Transient("overloaded"))),
        ("resp-err-504", once(Transient("Deadline expired"))),
        ("resp-err-array", once(RateLimited(Some(2.5)))),
        ("resp-fenced-json", once(TheFinding)),
        ("resp-html-200", once(web_page)),
        ("resp-malformed-json-text", once(NoAnswer("not JSON"))),
        (
            "resp-max-tokens-empty",
            twice(NoAnswer("ran out of tokens")),
        ),
        (
            "resp-max-tokens-truncated",
            twice(NoAnswer("ran out of tokens")),
        ),
        (
            "resp-prompt-blocked",
            once(Refused("blocked (PROHIBITED_CONTENT)")),
        ),
        ("resp-recitation", once(Refused("RECITATION"))),
        (
            "resp-reset",
            once(Transient("connection to 127.0.0.1 failed")),
        ),
        ("resp-safety-candidate", once(Refused("SAFETY"))),
        ("resp-slow", once(Transient("no response within 0.5 s"))),
        ("resp-split-parts", once(TheFinding)),
        ("resp-stop-empty", twice(NoAnswer("empty response"))),
        ("resp-stream-ok-sse", once(NoAnswer("an event stream"))),
        ("resp-thoughts", once(TheFinding)),
        ("resp-unknown-fields", once(TheFinding)),
        ("resp-unknown-finish", once(TheFinding)),
        (
            "resp-wrong-shape",
            once(NoAnswer("no valid finding among the 1")),
        ),
    ])
}

#[tokio::test]
async fn every_recorded_response_becomes_what_it_is() {
    let mut expectations = expectations();
    for file in std::fs::read_dir("tests/fixtures/gemini").unwrap() {
        let file = file.unwrap().file_name().into_string().unwrap();
        let Some(name) = file
            .strip_suffix(".json")
            .filter(|n| n.starts_with("resp-"))
        else {
            continue;
        };
        let (expected, requests) = expectations
            .remove(name)
            .unwrap_or_else(|| panic!("{name} has no expectation"));
        let server = FakeGemini::start().await;
        let replies = CannedReply::fixture(name);
        server.otherwise(replies.last().unwrap().clone());
        server.script("", replies);
        let mut settings = settings(&server);
        if name == "resp-slow" {
            settings.timeout = Duration::from_millis(500);
        }
        let gemini = Gemini::new(settings).unwrap();
        for expected in expected {
            let result = observe(&gemini, question()).await;
            assert_expected(name, expected, &result);
        }
        assert_eq!(server.requests().len(), requests, "{name}");
        assert_eq!(server.faults(), Vec::<String>::new(), "{name}");
    }
    assert!(
        expectations.is_empty(),
        "no such file: {:?}",
        expectations.keys()
    );
}

proptest! {
    /// Damaged recorded responses: whatever the result, nothing panics.
    #[test]
    fn a_damaged_response_is_survived(
        at in any::<prop::sample::Index>(),
        cut in 0..40_usize,
        put in prop::collection::vec(any::<u8>(), 0..40),
        which in prop::sample::select(expectations().into_keys().collect::<Vec<_>>()),
    ) {
        for reply in fixture(which).as_array().into_iter().flatten() {
            let mut bytes = reply["body"].to_string().into_bytes();
            let from = at.index(bytes.len());
            let to = (from + cut).min(bytes.len());
            bytes.splice(from..to, put.clone());
            read_anything(&bytes);
        }
    }
}

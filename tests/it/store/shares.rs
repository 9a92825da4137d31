//! Share links: used once or for hours, revoked, expired, and guessed.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use watchtower::base::publish_tokens::{PublishPermit, PublishTokens as _, TokenCheck, TokenEnd};
use watchtower::base::stream_name::StreamName;
use watchtower::record::settings::StoreSettings;

use super::harness::StoreHarness;

const TEAM: &str = "/api/share/team";

fn team() -> StreamName {
    StreamName::new("team").unwrap()
}

impl StoreHarness {
    async fn made(&self, body: Value) -> Value {
        let request = self.request(Method::POST, "/api/shares").json(&body);
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), StatusCode::CREATED, "{body}");
        response.json().await.unwrap()
    }

    /// Status and body of a request by a holder.
    async fn held(&self, method: Method, path: &str, token: &str) -> (u16, Value) {
        let request = self.request(method, path).bearer_auth(token);
        let response = request.send().await.unwrap();
        (response.status().as_u16(), response.json().await.unwrap())
    }

    fn permit(&self, token: &str) -> Option<PublishPermit> {
        match self.shares.check(&team(), token) {
            TokenCheck::Valid(permit) => Some(permit),
            TokenCheck::Over(_) | TokenCheck::Unknown => None,
        }
    }

    fn ended(&self, token: &str) -> Option<TokenEnd> {
        match self.shares.check(&team(), token) {
            TokenCheck::Over(end) => Some(end),
            TokenCheck::Valid(_) | TokenCheck::Unknown => None,
        }
    }

    async fn revoke(&self, id: &Value) -> StatusCode {
        let path = format!("/api/shares/{}", id.as_str().unwrap());
        let request = self.request(Method::DELETE, &path);
        request.send().await.unwrap().status()
    }
}

fn token(made: &Value) -> &str {
    made["token"].as_str().unwrap()
}

fn detail(answer: &Value) -> &str {
    answer["detail"].as_str().unwrap_or_default()
}

#[tokio::test]
async fn link_for_one_session_is_used_up_by_the_first() {
    let harness = StoreHarness::new().await;
    let made = harness
        .made(json!({"stream": "team", "uses": "once"}))
        .await;
    let link = token(&made);
    let (status, seen) = harness.held(Method::GET, TEAM, link).await;
    assert_eq!((status, &seen["uses"]), (200, &json!("once")));
    let session = format!("{TEAM}/session");
    let (status, begun) = harness.held(Method::POST, &session, link).await;
    assert_eq!(status, 200);
    let own = begun["token"].as_str().unwrap();

    // The session goes on; nobody else begins another.
    assert!(harness.permit(own).is_some() && harness.permit(own).is_some());
    assert_eq!(harness.held(Method::GET, TEAM, own).await.0, 200);
    let (_, again) = harness.held(Method::POST, &session, own).await;
    assert_eq!(again["token"], Value::Null, "the session's stays valid");
    assert_eq!(harness.ended(link), Some(TokenEnd::Used));
    for (method, path) in [(Method::GET, TEAM), (Method::POST, &*session)] {
        let (status, said) = harness.held(method, path, link).await;
        assert_eq!(
            (status, detail(&said)),
            (410, "the share link was used already")
        );
    }
    let listed = harness.json("/api/shares").await;
    assert_eq!(listed["items"][0]["state"], "used");

    // The same after a restart.
    let (link, own) = (link.to_owned(), own.to_owned());
    let harness = harness.restarted(StoreSettings::default()).await;
    assert!(harness.permit(&own).is_some());
    assert_eq!(harness.ended(&link), Some(TokenEnd::Used));
}

#[tokio::test]
async fn publisher_without_a_session_uses_a_link_for_one_up() {
    let harness = StoreHarness::new().await;
    let made = harness
        .made(json!({"stream": "team", "uses": "once"}))
        .await;
    assert!(harness.permit(token(&made)).is_some());
    assert_eq!(harness.ended(token(&made)), Some(TokenEnd::Used));
    let (status, _) = harness.held(Method::GET, TEAM, token(&made)).await;
    assert_eq!(status, 410);
}

#[tokio::test]
async fn link_for_hours_is_valid_for_any_number_of_sessions_until_revoked() {
    let harness = StoreHarness::new().await;
    let wanted = json!({"stream": "team", "uses": "hours", "hours": 2, "findings": true});
    let made = harness.made(wanted).await;
    let link = token(&made);
    let time = |name: &str| {
        made[name]
            .as_str()
            .unwrap()
            .parse::<jiff::Timestamp>()
            .unwrap()
    };
    let lasts = time("expires_at").duration_since(time("created_at"));
    assert_eq!(lasts, jiff::SignedDuration::from_hours(2));
    let first = harness.permit(link).unwrap();
    let second = harness.permit(link).unwrap();
    let (_, begun) = harness
        .held(Method::POST, &format!("{TEAM}/session"), link)
        .await;
    assert_eq!(begun["token"], Value::Null);
    let (_, seen) = harness.held(Method::GET, TEAM, link).await;
    assert_eq!(
        (&seen["findings"], &seen["state"]),
        (&json!([]), &Value::Null)
    );

    assert!(!first.ended.is_cancelled() && !second.ended.is_cancelled());
    assert_eq!(harness.revoke(&made["id"]).await, StatusCode::NO_CONTENT);
    assert!(
        first.ended.is_cancelled() && second.ended.is_cancelled(),
        "cut off"
    );
    assert_eq!(harness.ended(link), Some(TokenEnd::Revoked));
    let (status, said) = harness.held(Method::GET, TEAM, link).await;
    assert_eq!((status, detail(&said)), (410, "the share link was revoked"));
    let link = link.to_owned();
    let unknown = json!(uuid::Uuid::now_v7().to_string());
    assert_eq!(harness.revoke(&unknown).await, StatusCode::NOT_FOUND);
    let harness = harness.restarted(StoreSettings::default()).await;
    assert_eq!(harness.ended(&link), Some(TokenEnd::Revoked));
}

#[tokio::test]
async fn expired_link_ends_its_session() {
    let harness = StoreHarness::new().await;
    let made = harness
        .made(json!({"stream": "team", "uses": "hours"}))
        .await;
    let file = harness.dir.path().join("data/watchtower.db");
    let link = token(&made).to_owned();
    let harness = harness
        .restarted_after(&file, "UPDATE shares SET expires_at = ?1", 2)
        .await;
    let permit = harness.permit(&link).unwrap();
    permit.ended.cancelled().await;
    assert_eq!(harness.ended(&link), Some(TokenEnd::Expired));
    let (status, said) = harness.held(Method::GET, TEAM, &link).await;
    assert_eq!((status, detail(&said)), (410, "the share link has expired"));
    let listed = harness.json("/api/shares").await;
    assert_eq!(listed["items"][0]["state"], "expired");
}

impl StoreHarness {
    /// Restarts, after a time was written to the database: that many seconds
    /// from now.
    async fn restarted_after(self, file: &std::path::Path, sql: &str, seconds: i64) -> Self {
        let db = rusqlite::Connection::open(file).unwrap();
        let at = jiff::Timestamp::now() + jiff::SignedDuration::from_secs(seconds);
        let nanos = i64::try_from(at.as_nanosecond()).unwrap();
        assert_eq!(db.execute(sql, [nanos]).unwrap(), 1);
        drop(db);
        self.restarted(StoreSettings::default()).await
    }
}

#[tokio::test]
async fn token_is_of_one_stream_and_guesses_are_limited() {
    let harness = StoreHarness::new().await;
    let made = harness
        .made(json!({"stream": "other", "uses": "hours"}))
        .await;
    let link = token(&made);
    assert!(matches!(
        harness.shares.check(&team(), link),
        TokenCheck::Unknown
    ));
    let mut answers = Vec::new();
    for _ in 0..9 {
        answers.push(harness.held(Method::GET, TEAM, link).await.0);
    }
    answers.push(harness.held(Method::GET, TEAM, "gue55").await.0);
    assert_eq!(answers, [401; 10]);
    // Too many now, with the right one too, which could be told apart otherwise.
    let other = "/api/share/other";
    let request = harness.request(Method::GET, other).bearer_auth(link);
    let blocked = request.send().await.unwrap();
    assert_eq!(blocked.status(), StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(blocked.headers()["retry-after"], "1");
    // An operator is not affected.
    assert_eq!(harness.get("/api/shares").await.status(), StatusCode::OK);
    let wait = async {
        while harness.held(Method::GET, other, link).await.0 != 200 {
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    };
    let done = tokio::time::timeout(std::time::Duration::from_secs(30), wait).await;
    done.expect("forgiven after a while");
    let missing = harness.get(other).await;
    assert_eq!(missing.status(), StatusCode::UNAUTHORIZED);
    assert!(missing.headers().contains_key("www-authenticate"));
}

#[tokio::test]
async fn token_is_handed_out_once_and_stored_as_a_digest() {
    let harness = StoreHarness::new().await;
    let made = harness
        .made(json!({"stream": "team", "uses": "once"}))
        .await;
    let link = token(&made).to_owned();
    let url = made["url"].as_str().unwrap();
    let fragment = format!("/share/team#token={link}");
    assert!(
        url.starts_with("http://127.0.0.1:") && url.ends_with(&fragment),
        "{url}"
    );
    let (_, begun) = harness
        .held(Method::POST, &format!("{TEAM}/session"), &link)
        .await;
    let own = begun["token"].as_str().unwrap().to_owned();
    for path in ["/api/shares", "/metrics"] {
        let shown = harness.get(path).await.text().await.unwrap();
        assert!(!shown.contains(&link) && !shown.contains(&own), "{path}");
    }
    let folder = harness.dir.path().join("data");
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let bytes = if path.is_file() {
            std::fs::read(&path).unwrap()
        } else {
            Vec::new()
        };
        for secret in [&link, &own] {
            let found = bytes
                .windows(secret.len())
                .any(|part| part == secret.as_bytes());
            assert!(!found, "{}", path.display());
        }
    }
}

#[tokio::test]
async fn bad_requests_are_refused_with_what_was_expected() {
    let harness = StoreHarness::new().await;
    for (body, status, said) in [
        (
            json!({"stream": ".x", "uses": "once"}),
            400,
            "stream name must be",
        ),
        (
            json!({"stream": "a/b", "uses": "once"}),
            400,
            "stream name must be",
        ),
        (
            json!({"stream": "team", "uses": "hours", "hours": 0}),
            400,
            "from 1 to 168, got 0",
        ),
        (
            json!({"stream": "team", "uses": "hours", "hours": 169}),
            400,
            "from 1 to 168, got 169",
        ),
        (json!({"stream": "team", "uses": "twice"}), 422, "twice"),
        (json!({"stream": "team"}), 422, "uses"),
        (
            json!({"stream": "team", "uses": "once", "admin": true}),
            422,
            "admin",
        ),
    ] {
        let request = harness.request(Method::POST, "/api/shares").json(&body);
        let response = request.send().await.unwrap();
        assert_eq!(response.status().as_u16(), status, "{body}");
        let answer: Value = response.json().await.unwrap();
        assert!(detail(&answer).contains(said), "{body}: {answer}");
    }
    assert_eq!(harness.json("/api/shares").await["items"], json!([]));
}

//! Who may ask the HTTP edge, against the running server.

mod common;

use common::serve::{Server, Setup};
use reqwest::StatusCode;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};

const PAGES: [&str; 7] = [
    "/readyz",
    "/metrics",
    "/api/streams",
    "/api/agents",
    "/api/findings",
    "/api/frames/team/latest.jpg",
    "/nowhere",
];

async fn ask(server: &Server, path: &str, headers: &[(&'static str, &str)]) -> reqwest::Response {
    let pair = |(name, value): &(&'static str, &str)| {
        let value = HeaderValue::from_str(value).expect("a valid header");
        (HeaderName::from_static(name), value)
    };
    let headers: HeaderMap = headers.iter().map(pair).collect();
    let request = server.client.get(server.http_url(path)).headers(headers);
    request.send().await.expect("an answer")
}

#[tokio::test]
async fn without_a_token_only_this_machine_may_ask() {
    let server = Setup::new().agents("").start().await;
    let foreign: [&[(&'static str, &str)]; 6] = [
        &[("host", "rebound.example:8080")],
        &[("origin", "https://other.example")],
        &[("origin", "null")],
        &[("forwarded", "for=192.0.2.7")],
        &[("x-forwarded-for", "192.0.2.7")],
        &[("via", "1.1 tunnel")],
    ];
    for page in PAGES {
        let answer = ask(&server, page, &[]).await;
        assert_ne!(answer.status(), StatusCode::FORBIDDEN, "{page}");
        for headers in foreign {
            let answer = ask(&server, page, headers).await;
            assert_eq!(answer.status(), StatusCode::FORBIDDEN, "{page} {headers:?}");
            assert_eq!(answer.headers()["content-type"], "application/problem+json");
            assert!(!answer.headers().contains_key("access-control-allow-origin"));
        }
    }
    let answer = ask(&server, "/healthz", foreign[0]).await;
    assert_eq!(answer.text().await.expect("a text"), "ok");
}

#[tokio::test]
async fn with_a_token_everyone_needs_it_and_it_is_not_repeated() {
    const TOKEN: &str = "t0ken-5e6f7a8b";
    let settings = "[http]\nallowed_origins = [\"https://console.example\"]";
    let setup = Setup::new().agents("").settings(settings);
    let mut server = setup.env("WATCHTOWER_CONSOLE_TOKEN", TOKEN).start().await;
    let bearer = format!("Bearer {TOKEN}");
    let wrong = "Bearer wr0ng-1a2b3c";
    for page in PAGES {
        let answer = ask(&server, page, &[]).await;
        assert_eq!(answer.status(), StatusCode::UNAUTHORIZED, "{page}");
        assert!(
            answer.headers()["www-authenticate"]
                .to_str()
                .expect("text")
                .starts_with("Bearer")
        );
        let answer = ask(&server, page, &[("authorization", wrong)]).await;
        assert_eq!(answer.status(), StatusCode::UNAUTHORIZED, "{page}");
        // A proxy in front is fine once there is a token.
        let headers = [
            ("authorization", bearer.as_str()),
            ("x-forwarded-for", "192.0.2.7"),
            ("host", "tower.example"),
        ];
        let answer = ask(&server, page, &headers).await;
        assert!(![401, 403].contains(&answer.status().as_u16()), "{page}");
    }
    assert_eq!(ask(&server, "/healthz", &[]).await.status(), StatusCode::OK);

    let origin = ("origin", "https://console.example");
    let answer = ask(
        &server,
        "/api/streams",
        &[("authorization", &bearer), origin],
    )
    .await;
    assert_eq!(
        answer.headers()["access-control-allow-origin"],
        "https://console.example"
    );
    let answer = ask(
        &server,
        "/api/streams",
        &[
            ("authorization", &bearer),
            ("origin", "https://other.example"),
        ],
    )
    .await;
    assert!(!answer.headers().contains_key("access-control-allow-origin"));

    server.signal("-TERM");
    assert!(server.wait().await.success());
    for secret in [TOKEN, "wr0ng-1a2b3c"] {
        assert!(!server.output().contains(secret), "{}", server.output());
    }
}

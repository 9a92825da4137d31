//! Access control of the HTTP edge, against the running server.

use crate::common::serve::{Setup, TestServer};
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

async fn ask(
    server: &TestServer,
    path: &str,
    headers: &[(&'static str, &str)],
) -> reqwest::Response {
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
        // Behind a proxy it starts with a token.
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

#[tokio::test]
async fn token_attempts_are_limited_but_not_signed_in_users() {
    const TOKEN: &str = "t0ken-5e6f";
    let setup = Setup::new().agents("").args(&["--http", "0.0.0.0:0"]);
    let server = setup.env("WATCHTOWER_CONSOLE_TOKEN", TOKEN).start().await;
    server
        .logged("WATCHTOWER_CONSOLE_TOKEN is shorter than 16 characters")
        .await;
    let url = |path: &str| format!("http://127.0.0.1:{}{path}", server.http.port());
    let login = |token: &'static str| {
        let client = watchtower::base::http_client::plain()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none());
        let form = client.build().expect("a client").post(url("/login"));
        form.header("content-type", "application/x-www-form-urlencoded")
            .body(format!("token={token}"))
            .send()
    };
    let signed_in = login(TOKEN).await.expect("an answer");
    assert_eq!(signed_in.status(), StatusCode::SEE_OTHER);
    let cookie = signed_in.headers()["set-cookie"].to_str().expect("text");
    let cookie = cookie.split(';').next().expect("a cookie").to_owned();
    let forged = format!(
        "watchtower=99999999999.{}.{}",
        "0".repeat(32),
        "ab".repeat(32)
    );
    let ask = |name: &'static str, value: String| {
        let request = server.client.get(url("/api/streams"));
        request.header(name, value).send()
    };
    let bearer = format!("Bearer {TOKEN}");
    let guess = async |kind: u8| {
        let answer = match kind {
            0 => login("wrong").await,
            1 => ask("authorization", "Bearer wrong".to_owned()).await,
            _ => ask("cookie", forged.clone()).await,
        };
        answer.expect("an answer")
    };
    for kind in 0..3 {
        // One attempt is restored every second.
        let mut guesses = 0;
        let refused = loop {
            let answer = guess(kind).await;
            if answer.status() != StatusCode::UNAUTHORIZED {
                break answer;
            }
            guesses += 1;
            assert!(guesses < 100, "{kind}");
        };
        assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS, "{kind}");
        assert_eq!(refused.headers()["retry-after"], "1");
    }
    // The attempt just restored is used up by a wrong token first.
    let mut seen = Vec::new();
    for turn in 0..20 {
        guess(1).await;
        let right = match turn % 2 {
            0 => ask("authorization", bearer.clone()).await,
            _ => login(TOKEN).await,
        };
        seen.push(right.expect("an answer").status());
    }
    for form in [0, 1] {
        let mut seen = seen.iter().skip(form).step_by(2);
        assert!(seen.any(|status| *status == StatusCode::TOO_MANY_REQUESTS));
    }
    let session = ask("cookie", cookie).await;
    assert_eq!(session.expect("an answer").status(), StatusCode::OK);
    let elsewhere = watchtower::base::http_client::plain()
        .no_proxy()
        .local_address(std::net::IpAddr::from([127, 0, 0, 2]));
    let elsewhere = elsewhere.build().expect("a client");
    let right = elsewhere.get(url("/api/streams")).bearer_auth(TOKEN);
    let right = right.send().await.expect("an answer");
    assert_eq!(right.status(), StatusCode::OK);
}

#[tokio::test]
async fn behind_what_encrypts_the_cookie_stays_off_plain_http() {
    const TOKEN: &str = "t0ken-5e6f7a8b";
    let setup = Setup::new().agents("");
    let server = setup.env("WATCHTOWER_CONSOLE_TOKEN", TOKEN).start().await;
    let client = watchtower::base::http_client::plain()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .build()
        .expect("a client");
    let cases: [(&[(&str, &str)], bool); 5] = [
        (&[], false),
        (
            &[
                ("host", "tower.example"),
                ("origin", "http://tower.example"),
            ],
            false,
        ),
        (
            &[
                ("host", "tower.example"),
                ("origin", "https://tower.example"),
            ],
            true,
        ),
        (&[("x-forwarded-proto", "https")], true),
        (&[("x-forwarded-proto", "http")], false),
    ];
    for (headers, secure) in cases {
        let form = client
            .post(server.http_url("/login"))
            .header("content-type", "application/x-www-form-urlencoded")
            .body(format!("token={TOKEN}"));
        let form = headers
            .iter()
            .fold(form, |form, (name, value)| form.header(*name, *value));
        let answer = form.send().await.expect("an answer");
        assert_eq!(answer.status(), StatusCode::SEE_OTHER, "{headers:?}");
        let cookie = answer.headers()["set-cookie"].to_str().expect("text");
        assert_eq!(
            cookie.ends_with("; Secure"),
            secure,
            "{headers:?}: {cookie}"
        );
    }
}

#[tokio::test]
async fn every_rejection_is_an_uncached_problem() {
    let setup = Setup::new().agents("");
    let server = setup.env("WATCHTOWER_INBOUND_SECRET", "5e6f7a8b9c0d1e2f");
    let server = server.start().await;
    let get = |path: &str| server.client.get(server.http_url(path));
    let post = |path: &str| server.client.post(server.http_url(path));
    let cases = [
        (get("/api/incidents/%FF"), 400),
        (get("/api/incidents/%FF/transcripts"), 400),
        (post("/api/incidents/%FF/status"), 400),
        (post("/api/incidents/%FF/notes"), 400),
        (
            server
                .client
                .delete(server.http_url("/api/suppressions/%FF")),
            400,
        ),
        (get("/api/frames/%FF/latest.jpg"), 400),
        (get("/api/sinks/%FF/dead"), 400),
        (post("/api/inbound").body(vec![b'x'; 17 << 10]), 413),
        (post("/api/inbound").body(vec![b'x'; 65 << 10]), 413),
        (get("/api/inbound"), 405),
        (get("/login"), 405),
        (post("/healthz"), 405),
        (post("/api/streams"), 405),
    ];
    for (request, status) in cases {
        let answer = request.send().await.expect("an answer");
        let url = answer.url().clone();
        assert_eq!(answer.status().as_u16(), status, "{url}");
        let header = |name: &str| answer.headers().get(name).map(HeaderValue::as_bytes);
        assert_eq!(
            header("x-content-type-options"),
            Some(&b"nosniff"[..]),
            "{url}"
        );
        assert_eq!(header("cache-control"), Some(&b"no-store"[..]), "{url}");
        assert_eq!(
            header("content-type"),
            Some(&b"application/problem+json"[..]),
            "{url}"
        );
        assert_eq!(header("allow").is_some(), status == 405, "{url}");
    }
}

#[tokio::test]
async fn screen_texts_are_private_to_a_user_and_an_idle_server_ends_at_once() {
    use std::os::unix::fs::PermissionsExt as _;
    let agents = "[[agent]]\nname = \"SecOps\"\npersonality = \"wary\"\nfocus = \"threats\"\n";
    for settings in ["", "[store]\nkeep_stills = false\n"] {
        let setup = Setup::new().agents(agents).settings(settings);
        let ready = setup.folder.path().join("ready");
        let mut server = setup
            .args(&["--ready-file", ready.to_str().expect("text")])
            .start()
            .await;
        let log_text = server
            .until("the file that says it is ready", async |_| {
                std::fs::read_to_string(&ready).ok()
            })
            .await;
        // The started server, not another process on the port.
        let lines: Vec<_> = log_text.lines().map(str::to_owned).collect();
        let expected = [
            format!("pid={}", server.pid()),
            format!("http=http://{}", server.http),
            format!("rtmp={}", server.rtmp),
            "analyst=SecOps".to_owned(),
            "log=logs/secops.log".to_owned(),
        ];
        assert_eq!(lines, expected);
        let mode = |path: &std::path::Path| {
            std::fs::metadata(path)
                .expect("it is there")
                .permissions()
                .mode()
                & 0o777
        };
        assert_eq!(mode(&ready), 0o600);
        for folder in ["data", "logs"] {
            let folder = server.folder.path().join(folder);
            assert_eq!(mode(&folder), 0o700, "{}", folder.display());
            for entry in std::fs::read_dir(&folder).expect("a folder") {
                let path = entry.expect("an entry").path();
                let others = mode(&path) & 0o077;
                assert_eq!(others, 0, "{}", path.display());
            }
        }
        let requested = std::time::Instant::now();
        server.signal("-INT");
        assert!(server.wait().await.success());
        let took = requested.elapsed();
        assert!(took < std::time::Duration::from_secs(2), "{took:?}");
    }
}

#[tokio::test]
async fn folders_that_others_can_read_stay_and_are_reported() {
    use std::os::unix::fs::PermissionsExt as _;
    let setup = Setup::new();
    let data = setup.folder.path().join("data");
    std::fs::create_dir(&data).expect("made");
    let open = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(&data, open).expect("set");
    let server = setup.start().await;
    server
        .logged("readable by other users of this machine")
        .await;
    let mode = std::fs::metadata(&data)
        .expect("there")
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o755);
}

#[tokio::test]
async fn answers_can_be_embedded_by_no_other_site_and_wrong_tokens_are_reported() {
    const TOKEN: &str = "a-t0ken-of-sixteen";
    let server = Setup::new()
        .env("WATCHTOWER_CONSOLE_TOKEN", TOKEN)
        .start()
        .await;
    let ask = async |token: &str| {
        let request = server.client.get(server.http_url("/api/streams"));
        request.bearer_auth(token).send().await.expect("an answer")
    };
    let answer = ask(TOKEN).await;
    assert_eq!(
        answer.headers()["cross-origin-resource-policy"],
        "same-origin"
    );
    assert_eq!(
        ask("a-wrong-guess").await.status(),
        StatusCode::UNAUTHORIZED
    );
    server.logged("invalid console token").await;
    assert!(!server.output().contains("a-wrong-guess"));
    let metrics = server.client.get(server.http_url("/metrics"));
    let metrics = metrics.bearer_auth(TOKEN).send().await.expect("an answer");
    let metrics = metrics.text().await.expect("text");
    assert!(
        metrics.contains("watchtower_wrong_tokens_total 1\n"),
        "{metrics}"
    );
    // Signing out ends a session, including copies of its cookie.
    let client = watchtower::base::http_client::plain()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .build()
        .expect("a client");
    let form = client
        .post(server.http_url("/login"))
        .header("content-type", "application/x-www-form-urlencoded")
        .body(format!("token={TOKEN}"));
    let answer = form.send().await.expect("an answer");
    let cookie = answer.headers()["set-cookie"].to_str().expect("text");
    let cookie = cookie.split(';').next().expect("a cookie").to_owned();
    let with = async |request: reqwest::RequestBuilder| {
        let request = request.header("cookie", &cookie);
        request.send().await.expect("an answer").status()
    };
    let streams = || client.get(server.http_url("/api/streams"));
    assert_eq!(with(streams()).await, StatusCode::OK);
    let leave = client.post(server.http_url("/logout"));
    assert_eq!(with(leave).await, StatusCode::SEE_OTHER);
    assert_eq!(with(streams()).await, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn wrong_token_keeps_the_view_that_was_asked_for() {
    const TOKEN: &str = "t0ken-5e6f7a8b";
    let setup = Setup::new().agents("");
    let server = setup.env("WATCHTOWER_CONSOLE_TOKEN", TOKEN).start().await;
    let client = watchtower::base::http_client::plain()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .build()
        .expect("a client");
    let login = async |from: &str, form: &str| {
        let request = client.post(server.http_url("/login"));
        let request = request
            .header("referer", server.http_url(from))
            .header("content-type", "application/x-www-form-urlencoded")
            .body(form.to_owned());
        request.send().await.expect("an answer")
    };
    let refused = login("/?view=setup&x=\"><b>", "token=wrong").await;
    assert_eq!(refused.status(), StatusCode::UNAUTHORIZED);
    let page = refused.text().await.expect("a page");
    let field = "<input type=\"hidden\" name=\"next\" value=\"/?view=setup&amp;x=%22%3E%3Cb%3E\">";
    assert!(page.contains(field), "{page}");
    let next = "next=%2F%3Fview%3Dsetup%26x%3D%2522";
    let signed_in = login("/login", &format!("token={TOKEN}&{next}")).await;
    assert_eq!(signed_in.status(), StatusCode::SEE_OTHER);
    assert_eq!(signed_in.headers()["location"], "/?view=setup&x=%22");
    for away in ["https://evil.example/?a", "//evil.example/?a"] {
        let signed_in = login("/login", &format!("token={TOKEN}&next={away}")).await;
        assert_eq!(signed_in.headers()["location"], "/", "{away}");
    }
}

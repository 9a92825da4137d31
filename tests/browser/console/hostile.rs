//! Output of a screen or a model is rendered as text, whatever it contains.

use serde_json::{Value, json};

use crate::console::fixture::{js, opened, press, quiet, report, reported};

/// Payloads that would execute, or take over the page, if rendered as markup.
const HOSTILE: [&str; 26] = [
    "<script>window.pwned=1</script>",
    "<img src=x onerror=window.pwned=1>",
    "\"><svg onload=window.pwned=1>",
    "'><img src=x onerror=window.pwned=1>",
    "javascript:window.pwned=1",
    "{{constructor.constructor('window.pwned=1')()}}",
    "${window.pwned=1}",
    "</title><iframe srcdoc='<script>parent.pwned=1</script>'>",
    "</textarea><script>window.pwned=1</script>",
    "</script><script>window.pwned=1</script>",
    "<a href=javascript:window.pwned=1 autofocus onfocus=window.pwned=1>x</a>",
    "<details open ontoggle=window.pwned=1>",
    "<math><mi xlink:href=javascript:window.pwned=1>x",
    "<form action=/login><input name=token><button>sign in</button></form>",
    "<base href=http://127.0.0.1:1/>",
    "<meta http-equiv=refresh content='0;url=http://127.0.0.1:1/'>",
    "<link rel=stylesheet href=http://127.0.0.1:1/x.css>",
    "<style>*{display:none}</style>",
    "<noscript><p title='</noscript><img src=x onerror=window.pwned=1>'>",
    "&lt;img src=x onerror=window.pwned=1&gt;",
    "data:text/html,<script>window.pwned=1</script>",
    "event: finding\\ndata: {\"id\":\"1\"}\\n\\n",
    "[x](javascript:window.pwned=1) **bold** `code`",
    "\u{202e}gnitirw tfel-ot-thgir\u{202c}",
    "=HYPERLINK(\"http://127.0.0.1/\",\"x\")",
    "__proto__",
];

/// Elements that text could have become; the page's own drawings are hidden from
/// screen readers.
const MARKUP: &str = "document.querySelectorAll(\
    'main script, main iframe, main svg:not([aria-hidden]), main math, main base, main meta, main link, main style, \
     main [onerror], main [onload], main [href^=javascript], main form[action]:not([action$=logout]), dialog svg:not([aria-hidden])').length";

#[tokio::test]
async fn screen_content_is_shown_as_text_and_new_rows_wait_until_asked_for() {
    let server = quiet().await;
    for (number, title) in HOSTILE.iter().enumerate() {
        report(&server, &reported(number, title)).await;
    }
    // Notes and reasons of users are text as well.
    let first = server.json("/api/incidents?limit=1").await["items"][0]["id"].clone();
    let first_url = format!("/api/incidents/{}", first.as_str().unwrap());
    for (path, body) in [
        ("notes", json!({"by": HOSTILE[1], "text": HOSTILE[0]})),
        (
            "status",
            json!({"by": HOSTILE[2], "status": "acknowledged", "why": HOSTILE[7]}),
        ),
    ] {
        let url = server.http_url(&format!("{first_url}/{path}"));
        let sent = server.client.post(url).json(&body).send().await.unwrap();
        assert!(sent.status().is_success(), "{}", sent.text().await.unwrap());
    }
    let browser = opened(&server, "/?view=incidents").await;
    browser
        .until_true(10, "document.querySelectorAll('#triage li').length > 0")
        .await;
    let known = server.json("/api/incidents?limit=100").await;
    let known = known["items"].as_array().unwrap().len();
    assert!(known > 20, "{known} incidents of {} titles", HOSTILE.len());
    let first = "document.querySelector('#triage li').dataset.id";
    let before = browser.run(first).await;
    // Each opened, in every view.
    for row in 0..known {
        press(&browser, if row == 0 { "Enter" } else { "j" }).await;
        let opened = "document.querySelector('#incident h2')?.textContent \
            === document.querySelector('#triage [aria-current] a')?.textContent";
        browser.until_true(5, opened).await;
        assert_eq!(browser.run(MARKUP).await, 0);
    }
    for view in ["1", "3", "5", "6", "7"] {
        press(&browser, view).await;
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
        assert_eq!(browser.run(MARKUP).await, 0, "view {view}");
    }
    for text in HOSTILE {
        let query: String = url::form_urlencoded::byte_serialize(text.as_bytes()).collect();
        let path = server.http_url(&format!("/?view=search&q={query}"));
        browser
            .run(&format!("location.assign({})", js(&path)))
            .await;
    }
    browser
        .until_true(
            5,
            "document.querySelector('#found')?.textContent.length > 0",
        )
        .await;
    assert_eq!(browser.run(MARKUP).await, 0);
    assert_eq!(browser.run("window.pwned ?? null").await, Value::Null);
    browser.open(&server.http_url("/?view=incidents")).await;
    browser
        .until_true(
            5,
            "[...document.querySelectorAll('#triage a')].some((row) => row.textContent === '<style>*{display:none}</style>')",
        )
        .await;

    // New incidents wait until they are requested.
    report(
        &server,
        &reported(100, "A reverse shell on another machine"),
    )
    .await;
    browser
        .until_true(5, "!document.querySelector('#fresh').hidden")
        .await;
    assert_eq!(browser.run(first).await, before);
    press(&browser, ".").await;
    browser
        .until_true(5, &format!("{first} !== {before}"))
        .await;
    browser.close().await;
}

#[tokio::test]
async fn long_words_and_other_directions_stay_in_their_place() {
    let server = quiet().await;
    let long = "x".repeat(2000);
    let arabic = "تم قبول كلمة المرور للمسؤول من 203.0.113.45";
    let mut finding = reported(1, &long[..500]);
    finding["detail"] = json!(long.repeat(4));
    finding["evidence"][0]["quote"] = json!(long);
    report(&server, &finding).await;
    report(&server, &reported(2, arabic)).await;
    let browser = opened(&server, "/?view=incidents").await;
    browser
        .until_true(10, "document.querySelectorAll('#triage li').length === 2")
        .await;
    for (width, height) in [(1366, 768), (390, 844), (1920, 1080)] {
        browser.resize(width, height).await;
        for view in ["1", "2", "3", "5", "6"] {
            press(&browser, view).await;
            tokio::time::sleep(std::time::Duration::from_millis(150)).await;
            let wide = browser
                .run("document.documentElement.scrollWidth - document.documentElement.clientWidth")
                .await;
            assert_eq!(wide, 0, "view {view} at {width}x{height} scrolls sideways");
        }
        press(&browser, "2").await;
        press(&browser, "Enter").await;
        browser
            .until_true(5, "document.querySelector('#incident h2') !== null")
            .await;
        let fits = "document.querySelector('#incident').scrollWidth <= document.querySelector('#incident').clientWidth";
        browser.until_true(5, fits).await;
        press(&browser, "Escape").await;
    }
    let direction = format!(
        "getComputedStyle([...document.querySelectorAll('#triage a')].find((row) => row.textContent === {})).direction",
        js(arabic)
    );
    assert_eq!(browser.run(&direction).await, "rtl");
    browser.close().await;
}

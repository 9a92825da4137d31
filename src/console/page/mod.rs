//! The console: live video, findings as they come, incidents to be worked
//! through, the panel and its exchanges. Plain modules that the browser loads as
//! they are; nothing comes from another host.

use axum::Router;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use axum::routing::get;

/// Nothing but our own files, and nobody may frame us: what stands in a
/// finding was read off a screen and must never run.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
     connect-src 'self'; media-src 'self' blob:; base-uri 'none'; form-action 'self'; \
     frame-ancestors 'none'";
/// It has one style of its own, so that it needs no other file.
const LOGIN_POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; \
     form-action 'self'; frame-ancestors 'none'";

const HTML: &str = "text/html; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";

/// Path, media type, content.
const FILES: [(&str, &str, &str); 18] = [
    ("/", HTML, include_str!("index.html")),
    (
        "/page/style.css",
        "text/css; charset=utf-8",
        include_str!("style.css"),
    ),
    ("/page/icon.svg", "image/svg+xml", include_str!("icon.svg")),
    ("/page/main.js", SCRIPT, include_str!("main.js")),
    ("/page/whep.js", SCRIPT, include_str!("whep.js")),
    ("/page/findings.js", SCRIPT, include_str!("findings.js")),
    ("/page/boxes.js", SCRIPT, include_str!("boxes.js")),
    ("/page/dom.js", SCRIPT, include_str!("dom.js")),
    ("/page/api.js", SCRIPT, include_str!("api.js")),
    ("/page/dialog.js", SCRIPT, include_str!("dialog.js")),
    ("/page/triage.js", SCRIPT, include_str!("triage.js")),
    ("/page/incident.js", SCRIPT, include_str!("incident.js")),
    ("/page/panel.js", SCRIPT, include_str!("panel.js")),
    ("/page/history.js", SCRIPT, include_str!("history.js")),
    ("/page/handover.js", SCRIPT, include_str!("handover.js")),
    ("/page/question.js", SCRIPT, include_str!("question.js")),
    ("/page/search.js", SCRIPT, include_str!("search.js")),
    ("/page/setup.js", SCRIPT, include_str!("setup.js")),
];

pub(super) fn router<S: Clone + Send + Sync + 'static>() -> Router<S> {
    FILES
        .into_iter()
        .fold(Router::new(), |router, (path, kind, content)| {
            let answer = move || async move { page(kind, POLICY, content.to_owned()) };
            router.route(path, get(answer))
        })
}

/// What a browser without a session sees. `alert` must be plain words.
pub(super) fn login(alert: Option<&str>) -> Response {
    let alert = alert.map(|why| format!("<p role=\"alert\">{why}</p>"));
    let content =
        include_str!("login.html").replace("<!--alert-->", alert.as_deref().unwrap_or_default());
    page(HTML, LOGIN_POLICY, content)
}

fn page(kind: &'static str, policy: &'static str, content: String) -> Response {
    let headers = [
        (header::CONTENT_TYPE, kind),
        (header::CONTENT_SECURITY_POLICY, policy),
        // With "no-referrer" a form would come from the origin "null".
        (header::REFERRER_POLICY, "same-origin"),
    ];
    (headers, content).into_response()
}

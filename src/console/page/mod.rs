//! Console page: live video, findings, incident triage, the analysts and their
//! discussions. Plain modules without a build step; nothing is loaded from
//! another host.

#[cfg(test)]
mod colours;
pub(super) mod share;

use std::borrow::Cow;

use axum::Router;
use axum::http::{HeaderName, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use sha2::{Digest as _, Sha256};

/// Content security policy: own files only, no framing. The text of a finding
/// comes from a screen and must never run as code.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
     connect-src 'self'; worker-src 'self'; media-src 'self' blob:; base-uri 'none'; form-action 'self'; \
     frame-ancestors 'none'";
/// Policy of the login page, whose style is inline.
const LOGIN_POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; \
     form-action 'self'; frame-ancestors 'none'";

/// Permissions policy of pages that use no device.
const NO_DEVICES: &str = "camera=(), microphone=(), geolocation=()";

const HTML: &str = "text/html; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";

macro_rules! scripts {
    ($($name:literal),*) => {
        [$((concat!("/page/", $name), include_str!($name))),*]
    };
}

/// Path and content of a module.
const SCRIPTS: &[(&str, &str)] = &scripts![
    "main.js",
    "actions.js",
    "analysts.js",
    "api.js",
    "boxes.js",
    "chart.js",
    "claims.js",
    "clipboard.js",
    "compare.js",
    "compare-worker.js",
    "comparer.js",
    "comparison.js",
    "counts.js",
    "crop.js",
    "dead.js",
    "dialog.js",
    "dom.js",
    "events.js",
    "feed.js",
    "feed-worker.js",
    "filters.js",
    "findings.js",
    "format.js",
    "groups.js",
    "handover.js",
    "heads.js",
    "health.js",
    "histogram.js",
    "history.js",
    "incident.js",
    "likeness.js",
    "luma.js",
    "notifications.js",
    "notifications-dialog.js",
    "incidentrow.js",
    "lanes.js",
    "opinions.js",
    "overview.js",
    "pages.js",
    "palette.js",
    "panel.js",
    "proof.js",
    "push.js",
    "question.js",
    "regions.js",
    "report.js",
    "rows.js",
    "scope.js",
    "search.js",
    "series.js",
    "settled.js",
    "setup.js",
    "sharing.js",
    "signoff.js",
    "snooze.js",
    "span.js",
    "stats.js",
    "sparks.js",
    "suppressions.js",
    "tiles.js",
    "titles.js",
    "toast.js",
    "triage.js",
    "units.js",
    "viewer.js",
    "whep.js",
    "zoom.js"
];

const STYLE: &str = "text/css; charset=utf-8";

/// Path, media type, content.
const FILES: &[(&str, &str, &str)] = &[
    ("/", HTML, include_str!("index.html")),
    ("/page/crew.css", STYLE, include_str!("crew.css")),
    ("/page/look.css", STYLE, include_str!("look.css")),
    ("/page/style.css", STYLE, include_str!("style.css")),
    ("/page/lists.css", STYLE, include_str!("lists.css")),
    ("/page/proof.css", STYLE, include_str!("proof.css")),
    ("/page/live.css", STYLE, include_str!("live.css")),
    ("/page/sharing.css", STYLE, include_str!("sharing.css")),
    ("/page/icon.svg", "image/svg+xml", include_str!("icon.svg")),
    // Above all pages, which are its scope.
    (
        "/service-worker.js",
        SCRIPT,
        include_str!("service-worker.js"),
    ),
];

pub(super) fn router<S: Clone + Send + Sync + 'static>() -> Router<S> {
    let scripts = SCRIPTS
        .iter()
        .map(|(path, content)| (*path, SCRIPT, *content));
    let files = FILES.iter().copied().chain(scripts);
    let files = files.map(|(path, kind, content)| (path.to_owned(), kind, Cow::from(content)));
    let icons = (1..=9).map(|count: u8| {
        let path = format!("/page/icon-{count}.svg");
        (path, "image/svg+xml", Cow::from(counted_icon(count)))
    });
    files
        .chain(icons)
        .fold(Router::new(), |router, (path, kind, content)| {
            let tag = tag(&content);
            router.route(
                &path,
                get(move || async move { (tag, page(kind, POLICY, NO_DEVICES, content)) }),
            )
        })
}

/// Entity tag of a file.
fn tag(content: &str) -> [(HeaderName, String); 1] {
    let sum = Sha256::digest(content.as_bytes());
    [(header::ETAG, format!("\"{}\"", hex::encode(&sum[..12])))]
}

/// Icon with a count of open critical incidents.
fn counted_icon(count: u8) -> String {
    let badge = format!(
        "<circle cx=\"10.5\" cy=\"5.5\" r=\"5.5\" fill=\"#c9303a\"/>\
         <text x=\"10.5\" y=\"8.7\" font-family=\"sans-serif\" font-size=\"9\" \
         font-weight=\"700\" text-anchor=\"middle\" fill=\"#fff\">{count}</text></svg>"
    );
    include_str!("icon.svg").replace("</svg>", &badge)
}

/// Login page, for a browser without a session. `alert` must be plain text, as
/// it is not escaped.
pub(super) fn login(alert: Option<&str>) -> Response {
    login_to(alert, "/")
}

/// Login page that leads to a view: a path on this server with an encoded query.
pub(super) fn login_to(alert: Option<&str>, next: &str) -> Response {
    let alert = alert.map(|why| format!("<p role=\"alert\">{why}</p>"));
    // An encoded query has none of the other characters that end an attribute.
    let next = next.replace('&', "&amp;");
    let next = format!("<input type=\"hidden\" name=\"next\" value=\"{next}\">");
    let content = include_str!("login.html")
        .replace("<!--alert-->", alert.as_deref().unwrap_or_default())
        .replace("<!--next-->", if next.contains("/?") { &next } else { "" });
    page(HTML, LOGIN_POLICY, NO_DEVICES, content)
}

fn page(
    kind: &'static str,
    policy: &'static str,
    devices: &'static str,
    content: impl Into<Cow<'static, str>>,
) -> Response {
    let headers = [
        (header::CONTENT_TYPE, kind),
        (header::CONTENT_SECURITY_POLICY, policy),
        // With "no-referrer" a form would be sent with the origin "null".
        (header::REFERRER_POLICY, "same-origin"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (
            HeaderName::from_static("cross-origin-opener-policy"),
            "same-origin",
        ),
        (HeaderName::from_static("permissions-policy"), devices),
    ];
    (headers, content.into()).into_response()
}

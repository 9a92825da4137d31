//! Page of who shares a screen, and its files: outside the guard, as the holder
//! of a share link has no console token. The files are the same for everyone;
//! what the page shows it requests by the link's token.

use std::borrow::Cow;

use axum::Router;
use axum::extract::Path;
use axum::extract::rejection::PathRejection;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use watchtower_base::stream_name::StreamName;

use super::{HTML, POLICY, SCRIPT, STYLE, page, tag};
use crate::http::problem::Problem;

/// Permissions policy: the screen, and the microphone if the user wants.
const DEVICES: &str = "camera=(), microphone=(self), display-capture=(self), geolocation=()";

macro_rules! modules {
    ($($name:literal),*) => {
        [$((concat!("/share-page/", $name), SCRIPT, include_str!($name))),*]
    };
}

/// Modules by path: those of this page, and what they share with the console.
const MODULES: &[(&str, &str, &str)] = &modules![
    "api.js",
    "dom.js",
    "format.js",
    "publisher.js",
    "share.js",
    "share-capture.js",
    "share-front.js",
    "share-token.js",
    "share-view.js"
];

const FILES: [(&str, &str, &str); 3] = [
    ("/share-page/look.css", STYLE, include_str!("look.css")),
    ("/share-page/share.css", STYLE, include_str!("share.css")),
    (
        "/share-page/icon.svg",
        "image/svg+xml",
        include_str!("icon.svg"),
    ),
];

pub(crate) fn router<S: Clone + Send + Sync + 'static>() -> Router<S> {
    let files = MODULES.iter().copied().chain(FILES);
    files.fold(
        Router::new().route("/share/{stream}", get(share_page)),
        |router, (path, kind, content)| {
            let file = move || async move { (tag(content), page(kind, POLICY, DEVICES, content)) };
            router.route(path, get(file))
        },
    )
}

async fn share_page(stream: Result<Path<String>, PathRejection>) -> Response {
    let name = stream.ok().map(|Path(name)| StreamName::new(&name));
    match name {
        Some(Ok(_)) => page(HTML, POLICY, DEVICES, Cow::from(include_str!("share.html"))),
        _ => Problem::new(StatusCode::NOT_FOUND, "not a name of a stream").into_response(),
    }
}

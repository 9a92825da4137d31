//! Probe of `watchtower check`, which validates key and model.

use serde_json::json;
use watchtower::models::model::{Failure, Fatal, Model as _};

use super::{KEY, first, gemini};
use crate::common::gemini::{CannedReply, FakeGemini, bad_key, fixture};

#[tokio::test]
async fn a_probe_tries_key_and_model_without_a_picture() {
    let server = FakeGemini::start().await;
    let gemini = gemini(&server);
    let result = gemini.probe().await.unwrap();
    assert_eq!(
        result,
        "key accepted, gemini-3.8-flash takes 1048576 tokens"
    );
    let request = server.requests().remove(0);
    let recorded = fixture("req-10-models-get");
    assert_eq!(json!(request.method), recorded["method"]);
    assert_eq!(request.path, "/v1beta/models/gemini-3.8-flash");
    assert_eq!(request.headers["x-goog-api-key"], KEY);

    let embedder = json!({"name": "models/x", "supportedGenerationMethods": ["embedContent"]});
    for (reply, kind) in [
        (bad_key(), Fatal::Key),
        (first("resp-err-404"), Fatal::Model),
        (CannedReply::json(200, &embedder), Fatal::Model),
    ] {
        server.script("", [reply]);
        let failure = gemini.probe().await.unwrap_err();
        let right = matches!(&failure, Failure::Fatal { kind: is, .. } if *is == kind);
        assert!(right, "{failure:?}");
    }
    for page in [first("resp-html-200"), CannedReply::text("{}")] {
        server.script("", [page]);
        let failure = gemini.probe().await.unwrap_err();
        assert!(matches!(failure, Failure::NoAnswer { .. }), "{failure:?}");
    }
    assert_eq!(server.faults(), Vec::<String>::new());
}

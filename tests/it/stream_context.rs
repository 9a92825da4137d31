//! Context of a stream (`[[stream]]`): in the requests about that stream only.

use std::collections::BTreeSet;

use crate::common::encoder::Encoder;
use crate::common::gemini::FakeGemini;
use crate::common::serve::Setup;

const AGENTS: &str = r#"
[[stream]]
name = "noc"
context = "Wall of the NOC; staging is rebuilt every night."
normal = ["CPU up to 95 %"]

[[agent]]
name = "SecOps"
personality = "wary"
focus = "threats"
interval = "1s"
"#;

#[tokio::test]
async fn context_is_sent_with_its_stream_only() {
    let gemini = FakeGemini::start().await;
    let server = Setup::new()
        .agents(AGENTS)
        .env("GOOGLE_API_KEY", "AIzaFakeKeyOfTheTests0123456789abcdefgh")
        .env("GOOGLE_GEMINI_BASE_URL", &gemini.base_url())
        .start()
        .await;
    let _publishers = ["live/noc", "live/soc"].map(|path| Encoder::demo(&server.rtmp_url(path)));

    let told = "The operator of stream \"noc\" says about it:\n\
                Wall of the NOC; staging is rebuilt every night.\n\
                Normal on it, and no finding:\n- CPU up to 95 %";
    // Streams of the requests so far, and whether each tells the context.
    let asked = || -> BTreeSet<(String, bool)> {
        let requests = gemini.requests().into_iter();
        let looks = requests.filter_map(|request| {
            let text = request.text();
            let (_, stream) = text.split_once("screen of stream \"")?;
            let stream = stream.split('"').next()?.to_owned();
            Some((stream, request.system().contains(told)))
        });
        looks.collect()
    };
    let both = server.until("requests about both streams", async |_| {
        let asked = asked();
        (asked.len() >= 2).then_some(asked)
    });
    let expected = [("noc".to_owned(), true), ("soc".to_owned(), false)];
    assert_eq!(both.await, BTreeSet::from(expected));
}

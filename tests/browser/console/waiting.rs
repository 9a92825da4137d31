//! Console before the first stream: instructions, rejected publishers, health.

use std::time::Duration;

use crate::common::encoder::Encoder;
use crate::common::serve::Setup;
use crate::console::fixture::{NOBODY, opened, press};

const KEY: &str = "k3y-that-nobody-sees-55aa";

#[tokio::test]
async fn instructions_and_rejected_publishers_are_shown() {
    let server = Setup::new()
        .agents(NOBODY)
        .env("WATCHTOWER_STREAM_KEY", KEY)
        .start()
        .await;
    let browser = opened(&server, "/").await;
    let address = format!("rtmp://127.0.0.1:{}/live/team", server.rtmp.port());
    let instructions = format!(
        "['Zoom', 'OBS', '{address}', 'WATCHTOWER_STREAM_KEY'].every((said) => document.querySelector('#waiting').textContent.includes(said))"
    );
    browser.until_true(10, &instructions).await;
    assert_eq!(
        browser
            .run("document.querySelector('#state').textContent")
            .await,
        "no stream"
    );

    let wrong = "wr0ng-key-77bb";
    let _refused = Encoder::demo(&server.rtmp_url(&format!("live/team/{wrong}")));
    let refused = "document.querySelector('#waiting').textContent.includes('wrong stream key')";
    browser.until_true(20, refused).await;
    let setup = server.json("/api/setup").await;
    assert_eq!(setup["refused"][0]["why"], "wrong stream key");
    assert_eq!(setup["refused"][0]["address"], "127.0.0.1");
    assert!(setup["refused"][0]["count"].as_u64().unwrap() >= 1);
    assert_eq!(setup["stream_key"], true);
    assert_eq!(setup["rtmp"]["port"], server.rtmp.port());
    let disk = &setup["disk"];
    assert!(disk["total_bytes"].as_u64() > disk["free_bytes"].as_u64());
    assert!(disk["database_bytes"].as_u64().unwrap() > 0);
    for secret in [KEY, wrong] {
        assert!(!setup.to_string().contains(secret));
        let page = browser.run("document.documentElement.outerHTML").await;
        assert!(!page.as_str().unwrap().contains(secret));
    }

    press(&browser, "7").await;
    let health = "['Models', 'Budget', 'Integrations', 'Storage', ' free', 'Rejected connections'].every((said) => document.querySelector('#setup').textContent.includes(said))";
    browser.until_true(10, health).await;

    // With the right key the picture replaces them.
    press(&browser, "1").await;
    let _publisher = Encoder::demo(&server.rtmp_url(&format!("live/team/{KEY}")));
    browser
        .until_true(
            30,
            "document.querySelector('#waiting').hidden && document.querySelector('#video').videoWidth > 0",
        )
        .await;
    // Other streams to switch to.
    let _another = Encoder::demo(&server.rtmp_url(&format!("live/other/{KEY}")));
    browser
        .until_true(
            20,
            "document.querySelector('#streams').options.length === 2",
        )
        .await;
    browser
        .run("(document.querySelector('#streams').value = 'other', document.querySelector('#streams').dispatchEvent(new Event('change')))")
        .await;
    browser.until_true(10, "location.hash === '#other'").await;
    let plays = "document.querySelector('#state').textContent === 'live' && !document.querySelector('#video').paused";
    browser.until_true(20, plays).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    let shown = browser.run("document.documentElement.outerHTML").await;
    assert!(!shown.as_str().unwrap().contains(KEY));
    assert!(!server.output().contains(KEY));
    browser.close().await;
}

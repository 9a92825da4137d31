//! Statistics of the stream that is shown, as the API gives them, and the
//! marks of poor ones.

use crate::common::encoder::Encoder;
use crate::common::serve::Setup;
use crate::console::fixture::{NOBODY, opened, quiet, report, reported};

/// Value shown under a label.
fn shown(label: &str) -> String {
    format!(
        "[...document.querySelectorAll('#stats div')].find((one) => one.firstChild.textContent === '{label}')?.querySelector('dd').textContent"
    )
}

#[tokio::test]
async fn statistics_are_those_of_the_stream() {
    let server = Setup::new().agents(NOBODY).start().await;
    let browser = opened(&server, "/").await;
    let keyframes = ["-g", "25", "-s", "1280x720", "-b:v", "1M"];
    let _publisher = Encoder::ffmpeg(&server.rtmp_url("live/team"), &keyframes);
    for (label, value) in [
        ("Resolution", "1280×720"),
        ("Codec", "H.264"),
        ("Keyframe interval", "1 s"),
    ] {
        let expected = format!("{} === '{value}'", shown(label));
        browser.until_true(30, &expected).await;
    }
    let rate = shown("Frame rate");
    browser
        .until_true(30, &format!("Math.abs(parseFloat({rate}) - 25) < 3"))
        .await;
    let bits = shown("Bitrate");
    let api = "fetch('/api/streams').then((answer) => answer.json()).then(({items}) => items[0].rates.bits_per_second)";
    let close = format!(
        "{api}.then((bits) => {{ const [value, unit] = ({bits}).split(' '); \
         return Math.abs(Number(value) * (unit === 'Mb/s' ? 1e6 : 1e3) / bits - 1) < 0.5; }})"
    );
    browser.until_true(30, &close).await;
    assert_eq!(
        browser
            .run("document.querySelector('#advice').hidden")
            .await,
        true
    );
    // The time from picture to finding, of this stream alone.
    assert_eq!(browser.run(&shown("Picture to finding")).await, "–");
    let mut finding = reported(1, "Slow login");
    let seen = jiff::Timestamp::now() - jiff::SignedDuration::from_secs(30);
    finding["observed_at"] = serde_json::json!(seen.to_string());
    report(&server, &finding).await;
    let late = format!(
        "/^▲degraded\\s+30 s$/.test({})",
        shown("Picture to finding")
    );
    browser.until_true(20, &late).await;
    browser.close().await;
}

#[tokio::test]
async fn long_keyframe_interval_and_small_picture_are_marked() {
    let server = quiet().await;
    let browser = opened(&server, "/").await;
    let endless = ["-g", "10000", "-sc_threshold", "0"];
    let _publisher = Encoder::ffmpeg(&server.rtmp_url("live/team"), &endless);
    let advice = "[...document.querySelectorAll('#advice li')].map((one) => one.textContent)";
    let small = format!("{advice}.some((one) => one.includes('Resolution: Below 720 lines'))");
    browser.until_true(30, &small).await;
    let long = format!(
        "{advice}.some((one) => one.startsWith('✕down') && one.includes('Set the keyframe interval of the encoder'))"
    );
    browser.until_true(40, &long).await;
    browser.close().await;
}

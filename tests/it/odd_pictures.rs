//! Unusual pictures: any size, any format, any frame rate. The server stays up,
//! its memory bounded, and it logs pictures that it did not analyse.

use crate::common::encoder::Encoder;
use crate::common::serve::Setup;

/// Timeout: at half a core, as shipped, OCR of an 8K screen takes a minute on a
/// slow machine.
const WHOLE_CORE: &str = "[ocr]\ncpu_budget = 1.0\n";
const ONE: &str = r#"
[[agent]]
name = "SecOps"
personality = "wary"
focus = "threats"
interval = "1s"
"#;

/// Name, filter graph, pixel format.
const PICTURES: [(&str, &str, &str); 8] = [
    ("tiny", "testsrc2=s=16x16:r=10", "yuv420p"),
    ("portrait", "testsrc2=s=360x640:r=10", "yuv420p"),
    ("grey", "testsrc2=s=320x240:r=10", "gray"),
    ("deep", "testsrc2=s=320x240:r=10", "yuv420p10le"),
    ("slow", "testsrc2=s=320x240:r=1", "yuv420p"),
    ("fast", "testsrc2=s=320x240:r=60", "yuv420p"),
    (
        "noise",
        "nullsrc=s=640x360:r=15,geq=random(1)*255:128:128",
        "yuv420p",
    ),
    ("film", "mandelbrot=s=640x360:r=15", "yuv420p"),
];
/// Memory limit in kilobytes: eight streams, their last pictures, and OCR.
const MOST_MEMORY: u64 = 1_500_000;

#[tokio::test]
async fn odd_pictures_are_analysed_without_harm() {
    let server = Setup::new().agents(ONE).settings(WHOLE_CORE).start().await;
    let encoders: Vec<_> = PICTURES
        .iter()
        .map(|(name, graph, format)| {
            let url = server.rtmp_url(&format!("live/{name}"));
            Encoder::drawn_as(&url, graph, format)
        })
        .collect();
    for (name, ..) in PICTURES {
        let path = format!("/api/frames/{name}/latest.jpg");
        server
            .until(&format!("a still of {name}"), async |server| {
                (server.get(&path).await.status() == 200).then_some(())
            })
            .await;
    }
    assert!(server.memory() < MOST_MEMORY, "{} kB", server.memory());
    assert_eq!(server.get("/healthz").await.status(), 200);
    drop(encoders);
}

#[tokio::test]
async fn an_8k_picture_and_one_that_changes_its_size() {
    let server = Setup::new().agents(ONE).settings(WHOLE_CORE).start().await;
    let large = Encoder::drawn(&server.rtmp_url("live/large"), "testsrc2=s=7680x4320:r=1");
    let still = server.until("a still of it", async |server| {
        let answer = server.get("/api/frames/large/latest.jpg").await;
        (answer.status() == 200).then_some(answer)
    });
    assert!(still.await.bytes().await.unwrap().len() > 100_000);
    drop(large);
    assert!(server.memory() < MOST_MEMORY, "{} kB", server.memory());
    // The same stream repeatedly in other sizes.
    for size in ["320x240", "640x360", "240x320", "322x242"] {
        let graph = format!("testsrc2=s={size}:r=10");
        let _publisher = Encoder::drawn(&server.rtmp_url("live/sizes"), &graph);
        let (width, height) = size.split_once('x').unwrap();
        server
            .until(&format!("{size} read"), async |server| {
                let jpeg = server
                    .get("/api/frames/sizes/latest.jpg")
                    .await
                    .bytes()
                    .await;
                let size = crate::common::gemini::jpeg_size(&jpeg.unwrap())?;
                (size == (width.parse().unwrap(), height.parse().unwrap())).then_some(())
            })
            .await;
    }
}

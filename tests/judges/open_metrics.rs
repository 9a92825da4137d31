//! `/metrics` with the numbers of a screen, whatever their labels are.

use serde_json::Value;

use crate::common::encoder::Encoder;
use crate::common::serve::Setup;
use crate::sinks::harness::python;

const FONT: &str = "/usr/share/fonts/truetype/dejavu/DejaVuSans.ttf";

const AGENTS: &str = r#"
[model]
provider = "offline"
[[agent]]
name = "DevOps"
personality = "calm"
focus = "services"
"#;

fn text(line: u32, text: &str) -> String {
    let text = text.replace('\\', "\\\\").replace(':', "\\:");
    let y = 80 + line * 90;
    format!("drawtext=fontfile={FONT}:expansion=none:text='{text}':x=100:y={y}:fontsize=34")
}

#[tokio::test]
async fn numbers_of_a_screen_are_open_metrics() {
    let server = Setup::new().agents(AGENTS).start().await;
    let drawn = [
        text(0, "Checkout error rate: 12.4 %"),
        text(1, "Größe der Anfragen: 250 MB"),
        // It may be read in any way.
        text(2, r"C:\\temp {zone=eu} \ delay: 3 s"),
    ];
    let graph = format!("color=white:s=1280x720:r=5:d=300,{}", drawn.join(","));
    let _publisher = Encoder::drawn(&server.rtmp_url("live/team"), &graph);
    let lines = |metrics: &str| metrics.matches("watchtower_screen_value{").count();
    let metrics = server.until("the numbers", async |server| {
        let metrics = server.get("/metrics").await.text().await.unwrap();
        let units = ["percent", "bytes"].map(|unit| format!("unit=\"{unit}\""));
        let all = units.iter().all(|unit| metrics.contains(unit));
        all.then_some(metrics)
    });
    let metrics = metrics.await;
    let parsed = python("../open_metrics.py", metrics.as_bytes()).await;
    let all = parsed.as_array().unwrap().iter();
    let shown: Vec<&Value> = all
        .filter(|one| one[0] == "watchtower_screen_value")
        .collect();
    assert_eq!(shown.len(), lines(&metrics), "{metrics}");
    let of = |unit: &str| shown.iter().find(|one| one[1]["unit"] == unit);
    let rate = of("percent").unwrap();
    assert_eq!(
        (&rate[1]["stream"], &rate[2]),
        (&"team".into(), &12.4.into())
    );
    assert_eq!(of("bytes").unwrap()[2], 250e6);
}

//! Secrets on a shared screen at the running server: none may be visible in its
//! output.
//!
//! 60 secrets at two bitrates; `WATCHTOWER_SECRETS=200` makes it that many over
//! both, which `scripts/soak.sh` does.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod judge;
mod screens;
mod seeds;

use std::time::Duration;

use crate::common::encoder::Screencast;
use crate::common::gemini::{CannedReply, FakeGemini};
use crate::common::serve::{Setup, TestServer};
use judge::LeakJudge;
use screens::SeededScreen;
use seeds::Dice;
use serde_json::json;
use tokio::time::Instant;

const KEY: &str = "key-of-the-tests-0123456789";
const ONE: &str = r#"
[[agent]]
name = "SecOps"
personality = "wary"
focus = "threats"
interval = "1s"
"#;
/// Minimum and maximum time that a slide stays, until it was analysed.
const LEAST: Duration = Duration::from_secs(6);
const MOST: Duration = Duration::from_secs(300);

/// kb/s, secrets of a hundred that may be missed there, and the minimum share
/// of plain words left: at 500 kb/s an encoder smears small text until OCR
/// reads the words around a password as other words (observed: 0 to 3 of 60),
/// text that is not sharp yet in the first frame is painted over, and the
/// sampled pictures differ from run to run.
const BITRATES: [(u32, usize, f64); 3] = [(500, 7, 0.6), (1000, 2, 0.8), (2500, 2, 0.9)];

#[tokio::test(flavor = "multi_thread")]
async fn what_is_secret_is_painted_over_before_it_leaves() {
    let count = std::env::var("WATCHTOWER_SECRETS");
    let count: usize = count.map_or(60, |count| {
        count.parse().expect("WATCHTOWER_SECRETS is a number")
    });
    let bitrates = match count {
        ..200 => vec![BITRATES[0], BITRATES[2]],
        _ => BITRATES.to_vec(),
    };
    let mut dice = Dice::new(20_261_123);
    let seeds = seeds::seeds(count, &mut dice);
    let screens = screens::draw(&seeds, &mut dice).await;
    let mut judges = Vec::new();
    for (bitrate, ..) in &bitrates {
        judges.push(watched(&screens, *bitrate).await);
    }
    report(&bitrates, &judges);
    for ((bitrate, allowed, plain), judge) in bitrates.iter().zip(&judges) {
        let missed = judge.misses().len();
        assert!(
            missed * 100 <= allowed * count,
            "{missed} of {count} missed at {bitrate} kb/s"
        );
        assert_eq!(judge.not_looked_at(), [0; 0], "at {bitrate} kb/s");
        assert!(
            judge.readable() >= *plain,
            "{:.3} at {bitrate} kb/s",
            judge.readable()
        );
        for from in ["request", "latest.jpg", "evidence"] {
            assert!(
                judge.pictures.contains_key(from),
                "nothing seen of {from} at {bitrate} kb/s"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_ocr_nothing_is_sent_but_what_the_user_said_may_be() {
    let gemini = FakeGemini::start().await;
    let setup = |agents: &str| {
        Setup::new()
            .agents(agents)
            .args(["--models", "nowhere"].as_slice())
            .env("GOOGLE_API_KEY", KEY)
            .env("GOOGLE_GEMINI_BASE_URL", &gemini.base_url())
    };
    let (status, output) = setup(ONE).fail().await;
    assert_eq!(status.code(), Some(1), "{output}");
    for word in ["nowhere", "scripts/fetch-models.sh"] {
        assert!(output.contains(word), "{word} is not in: {output}");
    }
    assert!(gemini.requests().is_empty());

    let mut dice = Dice::new(1);
    let screens = screens::draw(&seeds::seeds(4, &mut dice), &mut dice).await;
    let server = setup(&format!("[model]\nredact = \"off\"\n{ONE}"))
        .start()
        .await;
    let picture = judge::planes(&screens[0].png);
    let _cast = Screencast::start(&server.rtmp_url("live/team"), 2500, picture);
    let request = server
        .until("a look", async |_| gemini.take_requests().pop())
        .await;
    let mut judge = LeakJudge::new(&screens);
    tokio::task::block_in_place(|| judge.request(&request));
    assert_eq!(judge.misses().len(), 4, "all of it can be seen");
}

/// Shows the screens one after the other and checks all output.
async fn watched(screens: &[SeededScreen], bitrate: u32) -> LeakJudge<'_> {
    let gemini = FakeGemini::start().await;
    // Each a different incident, so that stills of all are kept.
    gemini.script("", (1..250).map(remark));
    let server = Setup::new()
        .agents(ONE)
        .settings("[ocr]\ncpu_budget = 1.0\n")
        .env("GOOGLE_API_KEY", KEY)
        .env("GOOGLE_GEMINI_BASE_URL", &gemini.base_url())
        .start()
        .await;
    let mut judge = LeakJudge::new(screens);
    let planes: Vec<_> = screens
        .iter()
        .map(|screen| judge::planes(&screen.png))
        .collect();
    let cast = Screencast::start(&server.rtmp_url("live/team"), bitrate, planes[0].clone());
    let mut etag = String::new();
    for (number, planes) in planes.iter().enumerate() {
        cast.show(planes.clone());
        let begun = Instant::now();
        let mut looked = false;
        while begun.elapsed() < LEAST || (!looked && begun.elapsed() < MOST) {
            for request in gemini.take_requests() {
                looked |= tokio::task::block_in_place(|| judge.request(&request)) == number;
            }
            let latest = server.get("/api/frames/team/latest.jpg").await;
            if latest.status() == 200 && latest.headers()["etag"] != etag {
                latest.headers()["etag"]
                    .to_str()
                    .unwrap()
                    .clone_into(&mut etag);
                let jpeg = latest.bytes().await.unwrap();
                tokio::task::block_in_place(|| judge.picture("latest.jpg", &jpeg));
            }
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
    }
    drop(cast);
    kept(&server, &mut judge).await;
    assert_eq!(gemini.faults(), [""; 0]);
    judge
}

/// Checks the files the server has written and its output.
async fn kept(server: &TestServer, judge: &mut LeakJudge<'_>) {
    let folder = server.folder.path();
    for file in std::fs::read_dir(folder.join("data/evidence")).unwrap() {
        let name = file.unwrap().file_name().into_string().unwrap();
        let still = server.get(&format!("/api/evidence/{name}")).await;
        judge.picture("evidence", &still.bytes().await.unwrap());
    }
    for part in ["logs", "data"] {
        for file in std::fs::read_dir(folder.join(part)).unwrap() {
            let file = file.unwrap();
            if file.file_type().unwrap().is_file() {
                let name = file.file_name().into_string().unwrap();
                judge.bytes(&name, &std::fs::read(file.path()).unwrap());
            }
        }
    }
    judge.words("the output", &server.output());
}

fn remark(nth: u32) -> CannedReply {
    CannedReply::findings(&json!([{
        "severity": "high",
        "confidence": 0.9,
        "category": "intrusion",
        "title": format!("Traffic to 203.0.113.{nth}"),
        "detail": "An address nobody knows.",
        "evidence": [{"quote": format!("203.0.113.{nth}")}],
        "mitre": [],
        "recommended_action": "Ask who uses it.",
    }]))
}

fn report(bitrates: &[(u32, usize, f64)], judges: &[LeakJudge<'_>]) {
    let mut table = String::from("\nkind");
    for (bitrate, ..) in bitrates {
        table += &format!(" | {bitrate} kb/s");
    }
    let mut sums = vec![(0, 0); judges.len()];
    for kind in seeds::kinds() {
        table += &format!("\n{kind}");
        for (judge, sum) in judges.iter().zip(&mut sums) {
            let (painted, drawn) = judge.score(kind);
            *sum = (sum.0 + painted, sum.1 + drawn);
            table += &format!(" | {painted}/{drawn}");
        }
    }
    table += "\nall";
    for (painted, drawn) in sums {
        table += &format!(" | {painted}/{drawn}");
    }
    println!("{table}");
    for ((bitrate, ..), judge) in bitrates.iter().zip(judges) {
        println!(
            "{bitrate} kb/s: pictures {:?}; {:.1} % of the plain words' area visible; screens not looked at {:?}",
            judge.pictures,
            judge.readable() * 100.0,
            judge.not_looked_at()
        );
        for miss in judge.misses() {
            println!("  missed: {miss}");
        }
    }
}

//! Boxes over the live picture: only over what was seen, however late it is
//! reported.

use std::time::Duration;

use serde_json::{Value, json};

use crate::common::chromium::Chromium;
use crate::common::encoder::Encoder;
use crate::common::gemini::{CannedReply, FakeGemini};
use crate::common::serve::{Setup, TestServer};
use crate::console::fixture::{opened, quiet, report, reported};

const FONT: &str = "/usr/share/fonts/truetype/dejavu/DejaVuSans.ttf";

/// Screens of a console, alike but for their text, and the colour of a patch
/// by which the test knows which one is shown: a box over the text of one must
/// not stay over that of another.
const SCREENS: [(&str, &str, [u8; 3]); 3] = [
    (
        "Logins",
        "Failed password for admin from 203.0.113.45 port 51502",
        [200, 30, 30],
    ),
    (
        "Shells",
        "Reverse shell from web-01 to 198.51.100.7 port 4444",
        [30, 200, 30],
    ),
    (
        "Buckets",
        "Bucket fernhill-exports allows public read access",
        [30, 30, 200],
    ),
];

/// Stream that shows each screen for some seconds, in turn, with the same
/// heading and a clock that never stands still.
fn screens(server: &TestServer, seconds: u32, shown: &[usize]) -> Encoder {
    let mut graph = "color=c=0x18202c:size=1280x720:rate=15".to_owned();
    graph += &format!(
        ",drawtext=fontfile={FONT}:text='Security operations console':x=60:y=60:fontsize=34:fontcolor=white\
         ,drawtext=fontfile={FONT}:text='%{{n}}':x=1100:y=60:fontsize=30:fontcolor=white"
    );
    let round = seconds * shown.len() as u32;
    for (place, screen) in shown.iter().enumerate() {
        let (_, line, [red, green, blue]) = SCREENS[*screen];
        let from = seconds * place as u32;
        let during = format!(
            "enable='between(mod(t,{round}),{from},{}-0.01)'",
            from + seconds
        );
        graph += &format!(
            ",drawtext=fontfile={FONT}:text='{line}':x=60:y=300:fontsize=32:fontcolor=white:{during}\
             ,drawbox=x=0:y=640:w=80:h=80:color=0x{red:02x}{green:02x}{blue:02x}:t=fill:{during}"
        );
    }
    Encoder::drawn(&server.rtmp_url("live/team"), &graph)
}

/// Analyst whose model answers late, with a finding about the line it was
/// shown.
async fn analyst(late: Duration) -> (FakeGemini, TestServer) {
    let gemini = FakeGemini::start().await;
    gemini.answer_by(move |request| {
        // What is on the screen, without what was there or was reported.
        let text = request.text();
        let marks = ["text that vanished since", "what you reported earlier"];
        let end = marks.iter().filter_map(|mark| text.find(mark)).min();
        let text = &text[..end.unwrap_or(text.len())];
        // As OCR may read it: by its longest word.
        let word = |line: &'static str| line.split(' ').max_by_key(|word| word.len());
        let mut shown = SCREENS.iter();
        let (title, line, _) =
            shown.find(|(_, line, _)| word(line).is_some_and(|word| text.contains(word)))?;
        let finding = json!([{
            "evidence": line, "box_2d": [], "category": "intrusion", "title": title,
            "detail": line, "mitre_techniques": [], "severity": "high", "confidence": 0.9,
            "recommended_action": "Look at it."
        }]);
        Some(CannedReply::findings(&finding).slow(late))
    });
    let server = Setup::new()
        .agents(
            "[model]\nprovider = \"gemini\"\nname = \"gemini-3.8-flash\"\n\
             [[agent]]\nname = \"SecOps\"\npersonality = \"SOC analyst\"\nfocus = \"security\"\ninterval = \"2s\"\n",
        )
        .env("GOOGLE_API_KEY", "AIzaFakeKeyOfTheTests0123456789abcdefgh")
        .env("GOOGLE_GEMINI_BASE_URL", &gemini.base_url())
        .start()
        .await;
    (gemini, server)
}

/// Tally of the page, at each picture that the video presents: boxes over the
/// screen of their finding, and those over another one for a third picture
/// running. The page learns of a picture when it is presented, so that a box
/// may lag behind by that one and the next.
async fn watch(browser: &Chromium) {
    let colours: Vec<Value> = SCREENS
        .iter()
        .map(|(title, _, colour)| json!([title, colour]))
        .collect();
    let script = format!(
        "const colours = {};
         const video = document.querySelector('video');
         const context = document.createElement('canvas').getContext('2d', {{willReadFrequently: true}});
         const tally = window.tally = {{pictures: 0, unknown: 0, screens: {{}}, right: {{}}, wrong: []}};
         const stale = new Map();
         const look = () => {{
           context.drawImage(video, 10, 650, 60, 60, 0, 0, 1, 1);
           const [red, green, blue] = context.getImageData(0, 0, 1, 1).data;
           const near = ([, [r, g, b]]) => Math.abs(r - red) + Math.abs(g - green) + Math.abs(b - blue) < 90;
           const now = colours.find(near)?.[0];
           tally.pictures += 1;
           if (!now) tally.unknown += 1;
           else tally.screens[now] = (tally.screens[now] ?? 0) + 1;
           const drawn = [...document.querySelectorAll('.boxes .box')].map((box) => box.querySelector('b')?.textContent ?? '');
           for (const title of new Set(drawn)) if (title === now) tally.right[title] = (tally.right[title] ?? 0) + 1;
           for (const [title] of colours) {{
             const running = drawn.includes(title) && now && title !== now ? (stale.get(title) ?? 0) + 1 : 0;
             stale.set(title, running);
             if (running > 2) tally.wrong.push(`${{title}} over ${{now}} at picture ${{tally.pictures}}`);
           }}
           video.requestVideoFrameCallback(look);
         }};
         video.requestVideoFrameCallback(look);",
        json!(colours)
    );
    browser.script(&script).await;
}

#[tokio::test]
async fn a_late_finding_is_never_marked_on_another_screen() {
    let (gemini, server) = analyst(Duration::from_secs(15)).await;
    let _stream = screens(&server, 7, &[0, 1, 2]);
    let browser = opened(&server, "/").await;
    browser
        .until_true(20, "document.querySelector('video').videoWidth > 0")
        .await;
    watch(&browser).await;
    // Findings of several screens have come while others were shown, and what
    // one of them was about has been shown again.
    let enough = "new Set([...document.querySelectorAll('#findings h3')].map((one) => one.textContent)).size > 1 \
        && document.querySelectorAll('#findings li').length > 3 \
        && Object.keys(tally.screens).length === 3 && Object.keys(tally.right).length > 0";
    browser.until_true(180, enough).await;
    let tally = browser.run("tally").await;
    println!("{tally}");
    assert_eq!(tally["wrong"], json!([]), "{tally:#}");
    let (all, unknown) = (&tally["pictures"], &tally["unknown"]);
    assert!(
        unknown.as_u64().unwrap() * 20 < all.as_u64().unwrap(),
        "{tally:#}"
    );

    // Each card shows what its finding is about, and when it was seen.
    let crop = "[...document.querySelectorAll('#findings li')].filter((one) => \
        one.querySelector('.crop img')?.naturalWidth > 100 && /^seen \\d+ s ago$/.test(one.querySelector('.crop figcaption').textContent)).length > 1";
    browser.until_true(20, crop).await;
    assert_eq!(gemini.faults(), Vec::<String>::new());
    browser.close().await;
}

#[tokio::test]
async fn a_finding_is_marked_while_its_screen_stays_and_the_mark_goes_with_it() {
    let (_gemini, server) = analyst(Duration::from_secs(3)).await;
    // Long enough for a finding about the first one.
    let mut stream = screens(&server, 40, &[0, 1]);
    let browser = opened(&server, "/").await;
    browser
        .until_true(20, "document.querySelector('video').videoWidth > 0")
        .await;
    watch(&browser).await;
    let drawn = "document.querySelector('.boxes .box b')?.textContent === 'Logins'";
    browser.until_true(30, drawn).await;
    // It lies around the line, whatever the letterbox: the line is at 300 of
    // 720 pixels, and about 32 high.
    for (width, height) in [(1366, 768), (1920, 1080), (390, 844)] {
        browser.resize(width, height).await;
        let place = "(() => { const box = document.querySelector('.boxes .box')?.getBoundingClientRect(); \
            const video = document.querySelector('video'); const frame = video.getBoundingClientRect(); \
            const scale = Math.min(frame.width / video.videoWidth, frame.height / video.videoHeight); \
            const [left, top] = [frame.left + (frame.width - video.videoWidth * scale) / 2, frame.top + (frame.height - video.videoHeight * scale) / 2]; \
            return box && [(box.left - left) / scale, (box.top - top) / scale, (box.bottom - top) / scale]; })()";
        let around = format!(
            "(([left, top, bottom]) => Math.abs(left - 60) < 12 && top > 285 && top < 308 && bottom > 322 && bottom < 345)({place} ?? [])"
        );
        browser.until_true(20, &around).await;
    }
    browser.resize(1366, 768).await;
    // The screen changes.
    browser
        .until_true(60, "tally.screens.Shells > 5 && !document.querySelector('.boxes .box b')?.textContent.includes('Logins')")
        .await;
    let tally = browser.run("tally").await;
    assert_eq!(tally["wrong"], json!([]), "{tally:#}");
    assert!(tally["right"]["Logins"].as_u64().unwrap() > 10, "{tally:#}");

    // The signal is lost while the next one is marked.
    browser
        .until_true(
            60,
            "document.querySelector('.boxes .box b')?.textContent === 'Shells'",
        )
        .await;
    stream.kill();
    let lost = "document.querySelector('#state').dataset.is === 'lost'";
    browser.until_true(20, lost).await;
    let boxes = "document.querySelectorAll('.boxes .box').length";
    assert_eq!(browser.run(boxes).await, 0);
    browser.close().await;
}

#[tokio::test]
async fn a_remote_finding_says_that_it_has_no_picture() {
    let server = quiet().await;
    let browser = opened(&server, "/").await;
    report(&server, &reported(1, "Slow login")).await;
    let said = "document.querySelector('#findings .crop figcaption')?.textContent === 'No picture: reported by a remote analyst'";
    browser.until_true(20, said).await;
    browser.close().await;
}

//! Sound of a stream: its loudness as a series, and what a model hears.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use serde_json::json;

use crate::common::encoder::Encoder;
use crate::common::enhanced::{EnhancedCodec, LoopingPublisher};
use crate::common::gemini::{CannedReply, CapturedRequest, FakeGemini};
use crate::common::openai::{FakeOpenAi, MODEL};
use crate::common::serve::{Setup, command};

/// Tone of 1 kHz and -20 dBFS on both channels: -20 LUFS. After half a minute
/// it is 12 dB louder.
const TONE: &str = "aevalsrc=if(lt(t\\,30)\\,0.1\\,0.4)*sin(2*PI*1000*t)|\
                    if(lt(t\\,30)\\,0.1\\,0.4)*sin(2*PI*1000*t):s=48000";

const WATCH: &str = r#"
[model]
provider = "offline"
[[agent]]
name = "DevOps"
personality = "calm"
focus = "services"
[[watch]]
label = "loudness"
above = "-14 LUFS"
for = "3s"
agent = "DevOps"
"#;

#[tokio::test]
async fn loudness_is_a_series_that_a_watch_reports() {
    let server = Setup::new().agents(WATCH).start().await;
    let _aac = Encoder::with_sound(
        &server.rtmp_url("live/aac"),
        "testsrc2=size=320x240:rate=10",
        TONE,
    );
    let _opus = LoopingPublisher::start(server.rtmp, "opus", EnhancedCodec::Vp8);
    let of = async |stream: &str, server: &crate::common::serve::TestServer| {
        let page = server.json(&format!("/api/series?stream={stream}")).await;
        let mut items = page["items"].as_array().unwrap().clone().into_iter();
        items.find(|one| one["label"] == "Loudness" && one["place"] == "sound")
    };
    let tone = server
        .until("the loudness of AAC", async |server| {
            of("aac", server).await
        })
        .await;
    assert_eq!(
        (&tone["unit"], &tone["value"]),
        (&json!("lufs"), &json!(-20.0))
    );
    // FFmpeg's sine of 440 Hz has an amplitude of 1/8, -18.06 dBFS, in mono; 3 dB
    // less on each of two channels, and 0.7 dB by the K-weighting.
    let sine = server
        .until("the loudness of Opus", async |server| {
            of("opus", server).await
        })
        .await;
    assert_eq!(sine["value"], json!(-22.0), "{sine}");
    let finding = server
        .until("the watch", async |server| {
            server.findings().into_iter().next()
        })
        .await;
    let title = finding["title"].as_str().unwrap();
    assert_eq!(title, "Loudness above -14 LUFS: -8 LUFS", "{finding}");
    assert_eq!(finding["stream"], "aac");
    assert!(
        finding["detail"]
            .as_str()
            .unwrap()
            .starts_with("Loudness (sound) is -8 LUFS")
    );
    // The picture of the moment is its evidence, with no quote from it.
    assert_eq!(finding["evidence"], json!([]));
}

/// Analysts of the model that may hear, one of another of the same provider, and
/// one of another provider.
const HEARS: &str = r#"
[model]
name = "gemini-3.8-flash"
fallback = ["gemini:gemini-3.5-flash-lite"]
audio = true
[panel]
enabled = false
[[agent]]
name = "SecOps"
personality = "wary"
focus = "intrusions"
interval = "1s"
[[agent]]
name = "CloudSec"
personality = "calm"
focus = "clouds"
interval = "1s"
model = "gemini:gemini-3.8-pro"
[[agent]]
name = "DevOps"
personality = "calm"
focus = "outages"
interval = "1s"
model = "openai:MODEL"
"#;

/// Samples of a WAV file: rate, and values from -1 to 1.
fn samples(wav: &[u8]) -> (u32, Vec<f64>) {
    assert_eq!((&wav[..4], &wav[8..16]), (&b"RIFF"[..], &b"WAVEfmt "[..]));
    // PCM, mono, 16 bit.
    assert_eq!((wav[20], wav[22], wav[34]), (1, 1, 16));
    let rate = u32::from_le_bytes(wav[24..28].try_into().unwrap());
    let (data, rest) = wav[44..].as_chunks::<2>();
    assert!(rest.is_empty());
    let value = |sample: &[u8; 2]| f64::from(i16::from_le_bytes(*sample)) / 32_768.0;
    (rate, data.iter().map(value).collect())
}

fn of_model<'a>(all: &'a [CapturedRequest], model: &str) -> Vec<&'a CapturedRequest> {
    let path = format!("/{model}:generateContent");
    all.iter().filter(|one| one.path.contains(&path)).collect()
}

#[tokio::test]
async fn sound_goes_with_a_look_to_the_model_it_is_allowed_for_and_to_no_other() {
    let (gemini, openai) = (FakeGemini::start().await, FakeOpenAi::start().await);
    gemini.otherwise(CannedReply::nothing());
    openai.default_reply(&json!({"findings": [], "earlier": [], "not_sure": []}).to_string());
    let server = Setup::new()
        .agents(&HEARS.replace("MODEL", MODEL))
        .env("GOOGLE_API_KEY", "AIzaFakeKeyOfTheTests0123456789abcdefgh")
        .env("GOOGLE_GEMINI_BASE_URL", &gemini.base_url())
        .env("OPENAI_BASE_URL", &openai.base_url())
        .start()
        .await;
    // A counter, so that the screen changes and is looked at.
    let picture = "color=white:s=640x360:r=10,drawtext=\
                   fontfile=/usr/share/fonts/truetype/dejavu/DejaVuSans.ttf:\
                   text='Requests %{eif\\:t/2\\:d}':x=60:y=120:fontsize=48";
    let tone = "aevalsrc=0.1*sin(2*PI*1000*t)|0.1*sin(2*PI*1000*t):s=48000";
    let _publisher = Encoder::with_sound(&server.rtmp_url("live/team"), picture, tone);
    let heard = server
        .until("a look with 20 s of sound", async |_| {
            let all = gemini.requests();
            let heard = of_model(&all, "gemini-3.8-flash").into_iter();
            let mut wavs = heard.filter_map(|one| Some((one.text(), one.wav()?)));
            wavs.next_back()
                .filter(|(_, wav)| wav.len() == 44 + 20 * 32_000)
        })
        .await;
    let (text, wav) = heard;
    assert!(
        text.contains("sound of the stream in the last 20 s"),
        "{text}"
    );
    let (rate, samples) = samples(&wav);
    assert_eq!((rate, samples.len()), (16_000, 320_000));
    let power = samples.iter().map(|sample| sample * sample).sum::<f64>() / 320_000.0;
    let rms = 10.0 * power.log10();
    // A sine's mean power is 3.01 dB below its peak of -20 dBFS.
    assert!((rms + 23.01).abs() < 0.3, "{rms:.2} dBFS");
    let rises = samples
        .windows(2)
        .filter(|pair| pair[0] < 0.0 && pair[1] >= 0.0);
    let hertz = rises.count() as f64 / 20.0;
    assert!((hertz - 1000.0).abs() < 2.0, "{hertz} Hz");

    // The others looked, and heard nothing; nor does a fallback.
    let all = gemini.requests();
    let of_others = of_model(&all, "gemini-3.8-pro");
    assert!(!of_others.is_empty());
    assert!(
        of_others
            .iter()
            .all(|one| one.wav().is_none() && !one.text().contains("recording"))
    );
    let of_openai = openai.chats();
    assert!(!of_openai.is_empty());
    let said = of_openai
        .iter()
        .map(ToString::to_string)
        .collect::<String>();
    assert!(
        !said.contains("input_audio") && !said.contains("sound of the stream"),
        "to OpenAI"
    );
    let quota = CannedReply::raw(
        403,
        "application/json",
        r#"{"error": {"code": 403, "status": "PERMISSION_DENIED", "message": "API key not valid"}}"#,
    );
    gemini.script("You are SecOps", std::iter::repeat_n(quota, 50));
    let fallback = server
        .until("a look of the fallback", async |_| {
            let all = gemini.requests();
            of_model(&all, "gemini-3.5-flash-lite")
                .first()
                .map(|one| (*one).clone())
        })
        .await;
    assert_eq!(fallback.wav(), None);
    assert_eq!(gemini.faults(), Vec::<String>::new());
}

#[tokio::test]
async fn a_provider_that_takes_no_sound_is_refused_with_the_value() {
    let agents = WATCH.replace(
        "provider = \"offline\"",
        "provider = \"offline\"\naudio = true",
    );
    let setup = Setup::new().agents(&agents);
    let output = command("check", setup.folder.path())
        .output()
        .await
        .unwrap();
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    let expected = "model.audio: must be false with provider \"offline\", which takes no sound (\"gemini\" does), got true";
    assert!(
        !output.status.success() && said.contains(expected),
        "{said}"
    );
}

//! Benchmark of what follows the reading of a screen: its layout, then the
//! offline analysts, for `scripts/bench.sh rules`. Prints one line of JSON per
//! screen: lines of text, and median CPU milliseconds of both.
//!
//! ```text
//! rules MODELS ROUNDS NAME-WIDTHxHEIGHT.yuv...
//! ```
//!
//! The files are pictures as the server decodes them: 8-bit planes, 4:2:0, full
//! range.

#[path = "../../screen/benches/planes/mod.rs"]
mod planes;

use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;
use watchtower_base::cpu_time;
use watchtower_base::stream_name::StreamName;
use watchtower_media::MediaTime;
use watchtower_models::model::{
    Memory, Model as _, ObserveQuestion, Persona, Question, ScreenChanges,
};
use watchtower_models::offline::{Offline, Rules};
use watchtower_screen::frames::FrameBus;
use watchtower_screen::layout::Layout;
use watchtower_screen::metrics::ScreenMetrics;
use watchtower_screen::redact::{OwnPatterns, Redact, RedactedFrame};
use watchtower_screen::{Ocr, ReaderSettings, ScreenReader};

/// Analysts of the shipped agents.toml.
const ANALYSTS: [&str; 5] = ["SecOps", "DevOps", "CloudSec", "AISec", "Architect"];

/// Question of an analyst that sees the frame first.
fn question(persona: &Arc<Persona>, frame: &RedactedFrame) -> Question {
    Question::Observe(ObserveQuestion {
        persona: Arc::clone(persona),
        frames: vec![frame.clone()],
        news: ScreenChanges::default(),
        memory: Memory::default(),
        audio: None,
    })
}

fn median(mut spent: Vec<Duration>) -> f64 {
    spent.sort_unstable();
    let middle = spent.get(spent.len() / 2).copied().unwrap_or_default();
    (middle.as_secs_f64() * 1e5).round() / 1e2
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    // cargo bench adds a flag.
    let mut arguments = std::env::args().skip(1).filter(|given| given != "--bench");
    let (Some(models), Some(rounds)) = (arguments.next(), arguments.next()) else {
        println!("usage: rules MODELS ROUNDS NAME-WIDTHxHEIGHT.yuv...");
        return Ok(());
    };
    let rounds: u32 = rounds.parse()?;
    let rules = Arc::new(Rules::load(&[])?);
    let personas = ANALYSTS.map(|name| {
        Arc::new(Persona {
            name: name.to_owned(),
            ..Persona::default()
        })
    });
    let frames = FrameBus::new();
    let settings = ReaderSettings {
        readers: 1,
        cores: 1.0,
        own: OwnPatterns::default(),
    };
    let ocr = Ocr::load(Path::new(&models))?;
    let metrics = Arc::new(ScreenMetrics::default());
    let mut reader = ScreenReader::new(ocr, frames.clone(), None, metrics, settings);
    let stream = StreamName::new("picture")?;
    for file in arguments {
        let file = Path::new(&file);
        let mut publisher = frames.open(&stream, |_| Ok(Bytes::new()));
        publisher.publish(
            planes::picture(file)?,
            MediaTime::from_ms(0),
            Timestamp::now(),
        );
        let read = reader.read_next().await;
        let frame = frames.reads_after(&stream, None).pop();
        let frame = frame.filter(|_| read).ok_or("not read")?;
        let redacted = RedactedFrame::of(&frame, Redact::Secrets).ok_or("not read")?;
        let text = redacted.text.as_deref().unwrap_or_default();
        let (mut layouts, mut analysts, mut found) = (Vec::new(), Vec::new(), 0);
        for _ in 0..rounds {
            let begun = cpu_time::of_this_thread();
            black_box(Layout::of(text, &redacted.picture));
            layouts.push(cpu_time::of_this_thread() - begun);
            // The frame keeps its own; the analysts have no memory.
            redacted.layout();
            let asked = personas.iter().map(|persona| {
                let analyst = Offline::new(Arc::clone(&rules), persona);
                let prepared = analyst.prepare(question(persona, &redacted));
                (analyst, prepared)
            });
            let asked: Vec<_> = asked.collect();
            found = 0;
            let begun = cpu_time::of_this_thread();
            for (analyst, prepared) in asked {
                found += analyst.ask(prepared).await?.observed()?.seen.len();
            }
            analysts.push(cpu_time::of_this_thread() - begun);
        }
        let name = file.file_stem().unwrap_or_default().to_string_lossy();
        let told = serde_json::json!({
            "name": name, "lines": text.len(), "layout": median(layouts),
            "analysts": median(analysts), "findings": found,
        });
        println!("{told}");
    }
    Ok(())
}

//! Benchmark of OCR: CPU seconds to read new screens, for
//! `scripts/bench.sh reading`. Prints one line of JSON per screen, with each
//! text line's box and text.
//!
//! ```text
//! reading MODELS ROUNDS NAME-WIDTHxHEIGHT.yuv...
//! ```
//!
//! The files are pictures as the server decodes them: 8-bit planes, 4:2:0, full
//! range.

mod planes;

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use jiff::Timestamp;
use watchtower_base::stream_name::StreamName;
use watchtower_media::MediaTime;
use watchtower_screen::frames::FrameBus;
use watchtower_screen::metrics::ScreenMetrics;
use watchtower_screen::redact::OwnPatterns;
use watchtower_screen::{Ocr, ReaderSettings, ScreenReader};

/// CPU time of the whole process in seconds, user and system.
fn cpu_seconds() -> f64 {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: the pointer is to a local timespec, alive during the call.
    let failed = unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &raw mut time) } != 0;
    assert!(!failed, "no clock of this process");
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    // cargo bench adds a flag.
    let mut arguments = std::env::args().skip(1).filter(|given| given != "--bench");
    let (Some(models), Some(rounds)) = (arguments.next(), arguments.next()) else {
        println!("usage: reading MODELS ROUNDS NAME-WIDTHxHEIGHT.yuv...");
        return Ok(());
    };
    let rounds: u32 = rounds.parse()?;
    let frames = FrameBus::new();
    let settings = ReaderSettings {
        readers: 1,
        cores: 1.0,
        own: OwnPatterns::default(),
    };
    let ocr = Ocr::load(Path::new(&models))?;
    let metrics = Arc::new(ScreenMetrics::default());
    let mut reader = ScreenReader::new(ocr, frames.clone(), None, metrics, settings);
    for file in arguments {
        let file = Path::new(&file);
        let picture = planes::picture(file)?;
        let mut spent = Vec::new();
        let mut lines = Vec::new();
        for round in 0..rounds {
            // A new stream name, so that nothing is cached.
            let stream = StreamName::new(&format!("round-{round}"))?;
            let mut publisher = frames.open(&stream, |_| Ok(Bytes::new()));
            let pts = MediaTime::from_ms(0);
            publisher.publish(picture.clone(), pts, Timestamp::now());
            let before = cpu_seconds();
            let read = reader.read_next().await;
            spent.push(cpu_seconds() - before);
            let frame = frames.reads_after(&stream, None).pop();
            let frame = frame.filter(|_| read).ok_or("not read")?;
            lines = (frame.text.iter().flat_map(|lines| lines.iter()))
                .map(|line| {
                    let rect = &line.rect;
                    let place = [rect.x, rect.y, rect.width, rect.height];
                    serde_json::json!({ "place": place, "text": line.text, "confidence": line.confidence })
                })
                .collect();
        }
        let name = file.file_stem().unwrap_or_default().to_string_lossy();
        let told = serde_json::json!({ "name": name, "cpu": spent, "lines": lines });
        println!("{told}");
    }
    Ok(())
}

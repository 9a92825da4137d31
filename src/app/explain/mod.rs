//! `watchtower explain`: the elements of a screen, as JSON and drawn over it.

mod drawing;
mod listing;

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context as _, ensure};
use jiff::Timestamp;

use watchtower_analysts::settings::Panel;
use watchtower_base::stream_name::StreamName;
use watchtower_codec as codec;
use watchtower_media::MediaTime;
use watchtower_screen::frames::FrameBus;
use watchtower_screen::metrics::ScreenMetrics;
use watchtower_screen::picture::Picture;
use watchtower_screen::redact::{OwnPatterns, Redact, RedactedFrame};
use watchtower_screen::{Ocr, ReaderSettings, ScreenReader};

use crate::cli::ExplainArgs;

/// Stream name, as files have none.
const STREAM: &str = "picture";

/// Prints the elements of a picture, and draws them if requested.
pub(super) async fn run(args: &ExplainArgs) -> anyhow::Result<ExitCode> {
    let (redact, own) = redaction(args.config.as_deref())?;
    let picture = codec::read_picture(&args.picture)?;
    let frame = read(picture, &args.ocr.models, redact, own).await?;
    let listing = listing::of(frame.layout());
    if let Some(file) = &args.svg {
        let still = frame.still()?;
        std::fs::write(file, drawing::svg(frame.layout(), still.bytes()))
            .with_context(|| format!("failed to write {}", file.display()))?;
    }
    println!("{}", serde_json::to_string_pretty(&listing)?);
    Ok(ExitCode::SUCCESS)
}

/// Redaction by a configuration file, the default one without: as for pictures
/// that are stored on this machine, at least secrets.
fn redaction(config: Option<&Path>) -> anyhow::Result<(Redact, OwnPatterns)> {
    let Some(file) = config else {
        return Ok((Redact::default().at_home(true), OwnPatterns::default()));
    };
    let text = std::fs::read_to_string(file)
        .with_context(|| format!("failed to read {}", file.display()))?;
    let panel = Panel::parse(&text, &file.display().to_string())?;
    let model = panel.model;
    Ok((model.redact.at_home(true), model.redact_patterns))
}

/// Reads the text of a picture and redacts it.
async fn read(
    picture: Picture,
    models: &Path,
    redact: Redact,
    own: OwnPatterns,
) -> anyhow::Result<RedactedFrame> {
    let frames = FrameBus::new();
    let settings = ReaderSettings {
        readers: 1,
        cores: 1.0,
        own,
    };
    let metrics = Arc::new(ScreenMetrics::default());
    let mut reader = ScreenReader::new(Ocr::load(models)?, frames.clone(), None, metrics, settings);
    let stream = StreamName::new(STREAM).context("invalid stream name")?;
    let mut publisher = frames.open(&stream, codec::encode_jpeg);
    publisher.publish(picture, MediaTime::from_ms(0), Timestamp::now());
    ensure!(
        reader.read_next().await,
        "failed to read the picture's text"
    );
    let read = frames.reads_after(&stream, None).pop();
    let frame = read.context("failed to read the picture's text")?;
    RedactedFrame::of(&frame, redact).context("failed to redact the picture")
}

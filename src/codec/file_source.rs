//! Pictures of a file, sampled at the rate of a stream.

use std::path::{Path, PathBuf};
use std::time::Duration;

use ffmpeg_next as ff;
use ffmpeg_next::media::Type;
use jiff::Timestamp;

use watchtower_media::MediaTime;
use watchtower_screen::picture::Picture;

use super::convert::Converter;

/// Consecutive unreadable packets after which a file counts as unreadable.
const BAD_PACKETS: u32 = 100;

#[derive(Debug, thiserror::Error)]
pub enum FileSourceError {
    #[error("failed to read {}: {reason}", file.display())]
    File { file: PathBuf, reason: String },
    #[error("{} has no video", file.display())]
    NoVideo { file: PathBuf },
    #[error("{} has no picture that could be decoded", file.display())]
    NoPicture { file: PathBuf },
}

/// Passes the file's pictures to `take` in order, one for each `period`, as
/// fast as it accepts them, until the end or until it returns false. Returns
/// the time from the first picture to the last. Times begin at zero. Blocks.
pub fn pictures(
    file: &Path,
    period: Duration,
    mut take: impl FnMut(Picture, MediaTime) -> bool,
) -> Result<Duration, FileSourceError> {
    super::init();
    let failed = |error: ff::Error| FileSourceError::File {
        file: file.to_owned(),
        reason: error.to_string(),
    };
    let no_video = || FileSourceError::NoVideo {
        file: file.to_owned(),
    };
    let mut input = ff::format::input(file).map_err(failed)?;
    let stream = input.streams().best(Type::Video).ok_or_else(no_video)?;
    let (index, time_base) = (stream.index(), stream.time_base());
    let context = ff::codec::Context::from_parameters(stream.parameters()).map_err(failed)?;
    let mut decoder = context.decoder().video().map_err(failed)?;
    let mut sampler = Sampler {
        time_base,
        period: i64::try_from(period.as_millis()).unwrap_or(i64::MAX).max(1),
        begin: None,
        next: 0,
        last: 0,
        converter: Converter::default(),
    };
    let (mut bad, mut ended) = (0, false);
    while !ended {
        let mut packet = ff::Packet::empty();
        match packet.read(&mut input) {
            Ok(()) if packet.stream() != index => continue,
            // Undecodable packets are dropped, as on a live stream.
            Ok(()) => drop(decoder.send_packet(&packet)),
            Err(ff::Error::Eof) => {
                ended = true;
                decoder.send_eof().map_err(failed)?;
            }
            Err(error) => {
                bad += 1;
                if bad >= BAD_PACKETS {
                    return Err(failed(error));
                }
                continue;
            }
        }
        bad = 0;
        let mut frame = ff::frame::Video::empty();
        while decoder.receive_frame(&mut frame).is_ok() {
            if let Some((picture, at)) = sampler.sample(&frame)
                && !take(picture, at)
            {
                return Ok(sampler.length());
            }
        }
    }
    if sampler.begin.is_none() {
        return Err(FileSourceError::NoPicture {
            file: file.to_owned(),
        });
    }
    Ok(sampler.length())
}

struct Sampler {
    time_base: ff::Rational,
    /// Milliseconds, as all below.
    period: i64,
    begin: Option<i64>,
    next: i64,
    last: i64,
    converter: Converter,
}

impl Sampler {
    fn sample(&mut self, frame: &ff::frame::Video) -> Option<(Picture, MediaTime)> {
        let (numerator, denominator) = (
            i64::from(self.time_base.numerator()),
            i64::from(self.time_base.denominator()).max(1),
        );
        let ticks = frame.timestamp()?;
        let ms = ticks.saturating_mul(1000 * numerator) / denominator;
        let at = ms - *self.begin.get_or_insert(ms);
        self.last = self.last.max(at);
        if at < self.next {
            return None;
        }
        // Pictures that can't be converted are too large to analyse.
        let picture = self.converter.convert(frame).ok()?;
        self.next = (at / self.period + 1) * self.period;
        Some((picture, MediaTime::from_ms(at)))
    }

    fn length(&self) -> Duration {
        Duration::from_millis(self.last.max(0).unsigned_abs())
    }
}

/// Fixed start time of recordings, so that replays are reproducible.
pub const RECORDED_AT: Timestamp = Timestamp::constant(1_767_225_600, 0);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_gives_a_picture_a_period_and_its_length() {
        let mut times = Vec::new();
        let demo = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../demo/demo.mp4"));
        let length = pictures(demo, Duration::from_millis(500), |picture, at| {
            assert_eq!((picture.width, picture.height), (1920, 1080));
            times.push(at.ms());
            times.len() < 6
        });
        assert!(length.unwrap() >= Duration::from_secs(2));
        assert_eq!(times.len(), 6);
        let steps: Vec<_> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
        assert!(
            steps.iter().all(|step| (433..=567).contains(step)),
            "{times:?}"
        );
    }

    #[test]
    fn what_is_no_film_is_named() {
        let error = pictures(Path::new("Cargo.toml"), Duration::from_secs(1), |_, _| true);
        assert!(error.unwrap_err().to_string().contains("Cargo.toml"));
    }
}

//! Publishes a media file to an RTMP server in real time, by its own
//! timestamps, without re-encoding and optionally in a loop.
//!
//! The key appears in no log line and no error, and libavformat's own log is
//! silenced ([`av`](crate::av)).

mod output;
mod target;
mod track;

use std::net::ToSocketAddrs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use ffmpeg_next as ff;
use ffmpeg_next::codec::Id;
use ffmpeg_next::format::context::Input;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use output::RtmpOutput;
use target::Target;
pub use target::UrlError;
use track::{FileTrack, PublishProgress};

/// Interval at which cancellation is checked.
const NAP: Duration = Duration::from_millis(50);
/// Consecutive unreadable packets after which a file counts as unreadable.
const BAD_PACKETS: u32 = 100;

/// Summary of a publication.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PublishSummary {
    /// Duration played, in stream time.
    pub played: Duration,
    /// Number of times the file was played to its end.
    pub loops: u64,
    /// Payload bytes of audio and video.
    pub bytes: u64,
    /// Cancelled rather than ended with the file.
    pub cancelled: bool,
}

#[derive(Debug, thiserror::Error)]
pub enum FilePublishError {
    #[error(transparent)]
    Url(#[from] UrlError),
    #[error("failed to read {}: {reason}", file.display())]
    File { file: PathBuf, reason: String },
    #[error("{} has no video, expected H.264", file.display())]
    NoVideo { file: PathBuf },
    #[error("the {kind} of {} is {codec}, expected {expected}: convert it first", file.display())]
    Codec {
        file: PathBuf,
        kind: &'static str,
        codec: &'static str,
        expected: &'static str,
    },
    #[error("failed to reach {address}: {reason}")]
    Unreachable { address: String, reason: String },
    #[error("{address} rejected the stream: check the RTMP server, stream name and key")]
    Refused { address: String },
    #[error("{address} closed the connection after {} s of the stream", played.as_secs())]
    Closed { address: String, played: Duration },
    #[error("{address} stopped answering after {} s of the stream", played.as_secs())]
    Stalled { address: String, played: Duration },
    #[error("failed to start the publishing thread")]
    Thread(#[source] std::io::Error),
}

/// Publishes `file` (H.264, and AAC or no sound, in whatever container) to
/// `rtmp://host[:port]/live/NAME`. A `key` is published as
/// `rtmp://host/live/NAME/KEY`.
///
/// Returns at the end of the file, unless `looping`; soon after `cancel`,
/// having ended the stream properly; and with the first error. Dropping the
/// future cancels too.
pub async fn publish(
    file: &Path,
    url: &str,
    key: Option<&str>,
    looping: bool,
    cancel: &CancellationToken,
) -> Result<PublishSummary, FilePublishError> {
    super::init();
    let target = Target::new(url, key)?;
    let cancel = cancel.child_token();
    let _cancel_on_drop = cancel.clone().drop_guard();
    let player = FilePlayer {
        file: file.to_owned(),
        target,
        looping,
        cancel,
    };
    let (done, result) = oneshot::channel();
    thread::Builder::new()
        .name("publish".to_owned())
        .spawn(move || {
            // The receiver may be gone.
            let _ = done.send(player.run());
        })
        .map_err(FilePublishError::Thread)?;
    result.await.unwrap_or_else(|_| {
        let panicked = std::io::Error::other("it panicked");
        Err(FilePublishError::Thread(panicked))
    })
}

struct FilePlayer {
    file: PathBuf,
    target: Target,
    looping: bool,
    cancel: CancellationToken,
}

enum Pass {
    Ended,
    Cancelled,
}

impl FilePlayer {
    fn run(&self) -> Result<PublishSummary, FilePublishError> {
        let mut input = self.open_file()?;
        let mut tracks = self.tracks(&input)?;
        let mut progress = PublishProgress::new();
        let Some(mut output) = self.connect(&input, &mut tracks)? else {
            return Ok(progress.report(true));
        };
        tracing::info!(address = self.target.address(), "publishing");
        progress.begin = Instant::now();
        let cancelled = loop {
            match self.play(&mut input, &mut output, &mut tracks, &mut progress)? {
                Pass::Cancelled => break true,
                Pass::Ended => progress.loops += 1,
            }
            if !self.looping || !progress.next_loop(&mut tracks) {
                break false;
            }
            // Reopened rather than rewound, which works for every container.
            input = self.open_file()?;
        };
        // The stream ends whether or not this message arrives.
        let _ = output.finish();
        Ok(progress.report(cancelled))
    }

    /// Plays the file once.
    fn play(
        &self,
        input: &mut Input,
        output: &mut RtmpOutput,
        tracks: &mut [FileTrack],
        progress: &mut PublishProgress,
    ) -> Result<Pass, FilePublishError> {
        let mut base = None;
        let mut bad = 0;
        loop {
            let mut packet = ff::Packet::empty();
            match packet.read(input) {
                Ok(()) => bad = 0,
                Err(ff::Error::Eof) => return Ok(Pass::Ended),
                Err(error) => {
                    bad += 1;
                    if bad >= BAD_PACKETS {
                        return Err(self.file_error(error.to_string()));
                    }
                    continue;
                }
            }
            let Some(track) = tracks.iter_mut().find(|t| t.input == packet.stream()) else {
                continue;
            };
            if !track.place(&mut packet, &mut base, progress) {
                continue;
            }
            let dts = packet.dts().unwrap_or_default().max(0).unsigned_abs();
            if !self.sleep_until(progress.begin + Duration::from_millis(dts)) {
                return Ok(Pass::Cancelled);
            }
            packet.set_stream(track.output);
            packet.set_position(-1);
            progress.bytes += packet.size() as u64;
            if let Err(error) = output.write(&packet) {
                if self.cancel.is_cancelled() {
                    return Ok(Pass::Cancelled);
                }
                let (address, played) = (self.target.address(), progress.played());
                return Err(if error == ff::Error::Exit {
                    FilePublishError::Stalled { address, played }
                } else {
                    FilePublishError::Closed { address, played }
                });
            }
        }
    }

    fn open_file(&self) -> Result<Input, FilePublishError> {
        // FFmpeg's own messages for these are poor.
        if let Err(error) = std::fs::File::open(&self.file) {
            return Err(self.file_error(error.to_string()));
        }
        let path = self.file.to_str().filter(|path| !path.contains('\0'));
        let path = path.ok_or_else(|| self.file_error("its name is not UTF-8".to_owned()))?;
        let mut options = ff::Dictionary::new();
        // A playlist must not make this process fetch what it names.
        options.set("protocol_whitelist", "file");
        ff::format::input_with_dictionary(&format!("file:{path}"), options).map_err(|error| {
            self.file_error(match error {
                ff::Error::InvalidData => "not a media file".to_owned(),
                error => error.to_string(),
            })
        })
    }

    fn file_error(&self, reason: String) -> FilePublishError {
        FilePublishError::File {
            file: self.file.clone(),
            reason,
        }
    }

    /// The best video and, if there is one, the best audio.
    fn tracks(&self, input: &Input) -> Result<Vec<FileTrack>, FilePublishError> {
        let mut tracks = Vec::new();
        for (medium, kind, id, expected) in [
            (ff::media::Type::Video, "video", Id::H264, "H.264"),
            (ff::media::Type::Audio, "audio", Id::AAC, "AAC"),
        ] {
            let Some(stream) = input.streams().best(medium) else {
                continue;
            };
            let codec = stream.parameters().id();
            if codec != id {
                return Err(FilePublishError::Codec {
                    file: self.file.clone(),
                    kind,
                    codec: codec.name(),
                    expected,
                });
            }
            tracks.push(FileTrack::new(&stream));
        }
        match input.streams().best(ff::media::Type::Video) {
            Some(_) => Ok(tracks),
            None => Err(FilePublishError::NoVideo {
                file: self.file.clone(),
            }),
        }
    }

    /// Connects; `None` if cancelled meanwhile.
    fn connect(
        &self,
        input: &Input,
        tracks: &mut [FileTrack],
    ) -> Result<Option<RtmpOutput>, FilePublishError> {
        let address = self.target.address();
        // FFmpeg reports one error both for a name that doesn't resolve and for
        // a closed connection.
        if let Err(error) = address.to_socket_addrs() {
            let reason = error.to_string();
            return Err(FilePublishError::Unreachable { address, reason });
        }
        let opened = RtmpOutput::open(&self.target, self.cancel.clone()).and_then(|mut output| {
            for track in tracks {
                let stream = input.stream(track.input).ok_or(ff::Error::StreamNotFound)?;
                track.output = output.add(stream.parameters())?;
            }
            output.start().map(|()| output)
        });
        match opened {
            Ok(output) => Ok(Some(output)),
            Err(_) if self.cancel.is_cancelled() => Ok(None),
            Err(error) => Err(match unreachable_because(error) {
                Some(reason) => FilePublishError::Unreachable { address, reason },
                None => FilePublishError::Refused { address },
            }),
        }
    }

    /// Sleeps; false if cancelled meanwhile.
    fn sleep_until(&self, time: Instant) -> bool {
        while !self.cancel.is_cancelled() {
            let left = time.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return true;
            }
            thread::sleep(left.min(NAP));
        }
        false
    }
}

fn unreachable_because(error: ff::Error) -> Option<String> {
    use ff::error as errno;
    let reason = match error {
        ff::Error::Other { errno } => match errno {
            errno::ECONNREFUSED => "connection refused",
            errno::ETIMEDOUT => "no answer",
            errno::EHOSTUNREACH | errno::ENETUNREACH => "no route to it",
            _ => return None,
        },
        ff::Error::Exit => "no answer within 10 s",
        ff::Error::ProtocolNotFound => "protocol not supported by this FFmpeg build",
        _ => return None,
    };
    Some(reason.to_owned())
}

#[cfg(test)]
mod tests;

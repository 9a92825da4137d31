//! Codecs and containers; the only wing that depends on FFmpeg.
//!
//! Owns decoding (one thread per stream, from units on the stream hub to
//! pictures on the frame bus), JPEG encoding, transcoding for browsers, and
//! publishing a file over RTMP for demonstrations and tests. Analysis of the
//! pictures and the RTMP server belong to other wings.
//!
//! ```text
//! Subscriber -> decode (thread) -> session -> policy    what to decode
//!                                     |
//!                                     +-----> video     access unit -> frame
//!                                     +-----> convert   frame -> Picture, only when published
//!                                     v
//!                               FramePublisher
//! ```
//!
//! FFmpeg's own log is silenced: it would bypass ours on stderr, and its lines
//! contain URLs with keys. Relevant errors are returned.

mod audio;
mod colour;
mod convert;
mod decode;
mod decode_policy;
mod file_source;
mod jpeg;
mod loudness;
pub mod metrics;
mod publish;
mod session;
mod still;
mod transcode;
mod video;

#[cfg(test)]
mod clips;
#[cfg(test)]
mod tests;

use std::sync::Once;

use ffmpeg_next as ff;

use watchtower_media::{AudioCodec, VideoCodec};

pub use crate::file_source::{FileSourceError, RECORDED_AT, pictures};
pub use decode::{DecodeEnd, Decoder, DecoderOpenError};
pub use jpeg::encode_jpeg;
pub use loudness::LoudnessMeter;
pub use publish::{FilePublishError, PublishSummary, UrlError, publish};
pub use still::{PictureFileError, read_picture};
pub use transcode::supply;

/// Initialises FFmpeg, before any other use; further calls cost nothing.
fn init() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // Never fails in any FFmpeg version.
        let _ = ff::init();
        ff::log::set_level(ff::log::Level::Quiet);
    });
}

/// Required FFmpeg components by name, and whether this build has them.
pub fn capabilities() -> Vec<(&'static str, bool)> {
    init();
    use ff::codec::Id;
    vec![
        (
            "h264 decoder",
            video::decoder_of(VideoCodec::H264).is_some(),
        ),
        (
            "hevc decoder",
            video::decoder_of(VideoCodec::Hevc).is_some(),
        ),
        ("av1 decoder", video::decoder_of(VideoCodec::Av1).is_some()),
        ("vp8 decoder", video::decoder_of(VideoCodec::Vp8).is_some()),
        ("vp9 decoder", video::decoder_of(VideoCodec::Vp9).is_some()),
        ("aac decoder", audio::decoder_of(AudioCodec::Aac).is_some()),
        (
            "opus decoder",
            audio::decoder_of(AudioCodec::Opus).is_some(),
        ),
        ("mjpeg encoder", ff::encoder::find(Id::MJPEG).is_some()),
        ("opus encoder", ff::encoder::find(Id::OPUS).is_some()),
        (
            "libx264 encoder",
            ff::encoder::find_by_name("libx264").is_some(),
        ),
    ]
}

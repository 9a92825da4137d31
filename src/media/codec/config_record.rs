//! Common parts of the codecs' configuration records.

use bytes::Bytes;

use super::{av1, avc, hevc};
use crate::{VideoCodec, VideoConfig};

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadConfig {
    #[error("the {0} configuration record is cut short or of another version")]
    Record(&'static str),
    #[error("the {0} configuration record holds no parameter sets")]
    NoParameterSets(&'static str),
    #[error("invalid {0} sequence parameter set")]
    Sps(&'static str),
    #[error("{0} has no configuration record: its frames describe themselves")]
    InBand(&'static str),
}

pub fn parse_config(codec: VideoCodec, record: &Bytes) -> Result<VideoConfig, BadConfig> {
    match codec {
        VideoCodec::H264 => avc::parse_config(record),
        VideoCodec::Hevc => hevc::parse_config(record),
        VideoCodec::Av1 => av1::parse_config(record),
        VideoCodec::Vp8 | VideoCodec::Vp9 => Err(BadConfig::InBand(codec.as_str())),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use bytes::Bytes;

    pub(crate) fn hex(text: &str) -> Bytes {
        hex::decode(text).unwrap().into()
    }
}

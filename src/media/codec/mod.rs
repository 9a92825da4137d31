//! Bitstreams: configuration records, parameter sets and NAL units of H.264
//! (with AVC's record), HEVC and AV1, frame headers of VP8 and VP9, packets of
//! Opus. Pure parsers, no decoder.

pub mod av1;
pub mod avc;
pub mod bits;
pub mod config_record;
pub mod h264;
pub mod hevc;
pub mod nal;
pub mod opus;
pub mod parameter_sets;
mod vp8;
mod vp9;
pub mod vpx;

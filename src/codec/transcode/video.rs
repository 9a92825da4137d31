//! Transcoding of any video to H.264 that every browser plays: Constrained
//! Baseline, 8-bit 4:2:0, in presentation order.

use std::sync::Arc;

use ffmpeg_next as ff;
use jiff::Timestamp;

use watchtower_media::MediaUnit;
use watchtower_media::hub::Publisher;
use watchtower_media::hub::renditions::{Demanded, Renditions};

use super::rate::SourceRate;
use super::worker::Transcoder;
use super::x264::X264;
use crate::metrics::CodecMetrics;
use crate::video::{Decoded, VideoDecoder};

pub(super) struct ToH264 {
    demanded: Demanded,
    renditions: Renditions,
    metrics: Arc<CodecMetrics>,
    /// Publisher of the rendition; none while there are no pictures.
    rendition: Option<Publisher>,
    decoder: Option<VideoDecoder>,
    encoder: Option<X264>,
    source: SourceRate,
    /// Decoding has to wait for a keyframe.
    awaits_keyframe: bool,
    /// A viewer demands the rendition; otherwise the stream is only decoded.
    wanted: bool,
    /// Newest picture while the stream is only decoded: the rendition starts
    /// with it.
    newest: Option<Decoded>,
}

impl ToH264 {
    pub(super) fn new(
        demanded: Demanded,
        renditions: Renditions,
        metrics: Arc<CodecMetrics>,
    ) -> Self {
        Self {
            demanded,
            renditions,
            metrics,
            rendition: None,
            decoder: None,
            encoder: None,
            source: SourceRate::default(),
            awaits_keyframe: true,
            wanted: true,
            newest: None,
        }
    }

    fn encode(&mut self, decoded: Decoded) -> Result<(), ff::Error> {
        let encoder = match self
            .encoder
            .take()
            .filter(|known| known.fits(&decoded.frame))
        {
            Some(known) => known,
            None => {
                let declared = self.decoder.as_ref().and_then(VideoDecoder::frame_rate);
                X264::open(&decoded.frame, self.demanded.kind, declared)?
            }
        };
        let encoder = self.encoder.insert(encoder);
        if !encoder.takes(decoded.pts) {
            return Ok(());
        }
        let keyframe_requested = self.renditions.take_keyframe_request(&self.demanded);
        let units = encoder.encode(decoded, keyframe_requested, self.source.bits_per_second())?;
        for unit in units {
            let rendition = match &self.rendition {
                Some(rendition) => rendition,
                None => {
                    let hub = self
                        .renditions
                        .pictures(self.demanded.kind)
                        .ok_or(ff::Error::Bug)?;
                    self.rendition.insert(hub.publish(&self.demanded.stream))
                }
            };
            // Replaced only if two workers supply the same rendition, which is
            // a bug.
            rendition
                .push(MediaUnit::Video(unit))
                .map_err(|_| ff::Error::Bug)?;
            self.metrics.transcoded_frames.inc();
        }
        Ok(())
    }
}

impl Transcoder for ToH264 {
    fn unit(&mut self, unit: &MediaUnit, encode: bool) -> Result<(), ff::Error> {
        let MediaUnit::Video(unit) = unit else {
            return Ok(());
        };
        self.source.note(unit.dts, unit.data.len());
        let known = self.decoder.take();
        let decoder = match known {
            // Parameter sets may change between keyframes.
            Some(known) if known.fits(&unit.config) || !unit.keyframe => known,
            _ => {
                self.awaits_keyframe = true;
                VideoDecoder::open(&unit.config)?
            }
        };
        let decoder = self.decoder.insert(decoder);
        decoder.skip_unreferenced(!encode || !self.wanted);
        self.awaits_keyframe &= !unit.keyframe;
        if self.awaits_keyframe {
            return Ok(());
        }
        if let Err(error) = decoder.send(unit, Timestamp::now()) {
            tracing::debug!(%error, "failed to decode a picture");
        }
        loop {
            let decoder = self.decoder.as_mut().ok_or(ff::Error::Bug)?;
            match decoder.receive() {
                Ok(Some(picture)) if !self.wanted => self.newest = Some(picture),
                Ok(Some(picture)) if encode => self.encode(picture)?,
                Ok(Some(_)) => {}
                Ok(None) => return Ok(()),
                Err(error) => {
                    tracing::debug!(%error, "failed to decode a picture");
                    return Ok(());
                }
            }
        }
    }

    fn interrupted(&mut self) {
        self.decoder = None;
        // The timestamps would go back.
        self.encoder = None;
        self.rendition = None;
        self.source = SourceRate::default();
        self.awaits_keyframe = true;
        self.newest = None;
    }

    fn wanted(&mut self, wanted: bool) -> Result<(), ff::Error> {
        self.wanted = wanted;
        if !wanted {
            self.encoder = None;
            self.rendition = None;
            return Ok(());
        }
        self.newest
            .take()
            .map_or(Ok(()), |picture| self.encode(picture))
    }
}

//! Video tags to access units.
//!
//! FLV prescribes one picture a tag, length-prefixed NAL units and a separate
//! tag for parameter sets. Encoders also send one NAL unit a tag, SEI or
//! parameter sets alone, start codes, and in-band sets only. Whatever the form,
//! one unit is emitted for each picture, and its configuration is that of the
//! sets it refers to.
//!
//! Pure, no I/O, bounded by [`MOST_HELD`].

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use watchtower_media::codec::h264::nal_units;
use watchtower_media::codec::nal::{NalFraming, Role};
use watchtower_media::codec::parameter_sets::Sets;
use watchtower_media::codec::vpx::VpxReader;
use watchtower_media::codec::{avc, config_record, hevc, nal};
use watchtower_media::{AccessUnit, MediaTime, MediaUnit, RandomAccess, VideoCodec, VideoConfig};

use super::flv::MediaError;

/// Maximum bytes and pieces held of one picture that arrives in pieces.
const MOST_HELD: usize = 16 << 20;
const MOST_PIECES: usize = 4096;

/// Complete or partial picture of one video tag.
#[derive(Debug)]
pub(super) struct Tag {
    pub(super) codec: VideoCodec,
    pub(super) pts: MediaTime,
    pub(super) dts: MediaTime,
    /// Keyframe flag of the tag.
    pub(super) marked: bool,
    pub(super) data: Bytes,
}

/// Tag layout of a publisher: whether a tag is a whole picture. Only the next
/// tag shows it, and waiting for that adds a frame of latency.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum TagLayout {
    /// Unknown until the first keyframe is complete.
    #[default]
    Unknown,
    Whole,
    /// Some picture spanned several tags.
    Parts,
}

#[derive(Debug, Default)]
pub(super) struct AccessUnitAssembler {
    sets: Option<Sets>,
    /// NAL length size in bytes from the configuration record, for H.264 and
    /// HEVC.
    length_size: Option<u8>,
    config: Option<Arc<VideoConfig>>,
    /// Frames of VP8 or VP9.
    vpx: Option<VpxReader>,
    layout: TagLayout,
    /// A keyframe was emitted.
    key_passed: bool,
    /// NAL units of tags without a slice, which precede the next picture.
    lead: Pieces,
    held: Option<HeldPicture>,
    /// Decoding time of the newest picture.
    begun: Option<MediaTime>,
    /// An IDR picture, or another instant random access point, was seen.
    start_seen: bool,
}

/// Picture that may continue in the next tag.
#[derive(Debug)]
struct HeldPicture {
    tag: Tag,
    pieces: Pieces,
}

#[derive(Debug, Default)]
struct Pieces {
    parts: Vec<Bytes>,
    bytes: usize,
}

impl Pieces {
    /// Appends NAL units; `false` if that would exceed the limit.
    fn push(&mut self, part: Bytes) -> bool {
        let fits = self.bytes + part.len() <= MOST_HELD && self.parts.len() < MOST_PIECES;
        if fits {
            self.bytes += part.len();
            self.parts.push(part);
        }
        fits
    }

    fn join(self) -> Bytes {
        match <[Bytes; 1]>::try_from(self.parts) {
            Ok([alone]) => alone,
            Err(parts) => {
                let mut all = BytesMut::with_capacity(self.bytes);
                for part in parts {
                    all.extend_from_slice(&part);
                }
                all.freeze()
            }
        }
    }
}

impl AccessUnitAssembler {
    /// Applies a configuration record. An invalid one changes nothing; one
    /// without sets only gives the NAL length size. That of VP8 and VP9 is not
    /// read: their frames say the same.
    pub(super) fn configure(
        &mut self,
        codec: VideoCodec,
        record: &Bytes,
        out: &mut VecDeque<MediaUnit>,
    ) -> Result<(), MediaError> {
        let before = self.flush(out);
        // Copied, so that it does not keep a read buffer alive for hours.
        let record = Bytes::copy_from_slice(record);
        let config = if matches!(codec, VideoCodec::Vp8 | VideoCodec::Vp9) {
            self.begin(codec);
            return before;
        } else if codec == VideoCodec::Av1 {
            let config = config_record::parse_config(codec, &record)?;
            self.begin(codec);
            config
        } else {
            let sets = Sets::read(codec, &record)?;
            self.begin(codec);
            if self.nal_length_size() != sets.nal_length_size() {
                self.lead = Pieces::default();
            }
            self.length_size = Some(sets.nal_length_size());
            if sets.is_empty() {
                return before;
            }
            let config = sets.config(None)?;
            self.sets = Some(sets);
            config
        };
        if self.config.as_deref() != Some(&config) {
            self.config = Some(Arc::new(config));
        }
        before
    }

    /// Discards the state of another codec.
    fn begin(&mut self, codec: VideoCodec) {
        let known = self.sets.as_ref().map(Sets::codec);
        let known = known.or(self.config.as_ref().map(|config| config.codec));
        let known = known.or(self.vpx.as_ref().map(VpxReader::codec));
        if known.is_some_and(|known| known != codec) {
            *self = Self::default();
        }
    }

    pub(super) fn add(
        &mut self,
        tag: Tag,
        out: &mut VecDeque<MediaUnit>,
    ) -> Result<(), MediaError> {
        match tag.codec {
            VideoCodec::Av1 => return self.add_av1(tag, out),
            VideoCodec::Vp8 => return self.add_vpx(tag, VpxReader::vp8, out),
            VideoCodec::Vp9 => return self.add_vpx(tag, VpxReader::vp9, out),
            VideoCodec::H264 | VideoCodec::Hevc => {}
        }
        self.begin(tag.codec);
        let data = self.frame(&tag)?;
        let length_size = self.nal_length_size();
        let role = Role::of_all(tag.codec, &data, length_size).ok_or(MediaError::Truncated)?;
        match role {
            // Slices may arrive in any order (H.264, arbitrary slice order),
            // and the first may be lost: a different timestamp means a
            // different picture.
            Role::Continues if self.begun != Some(tag.dts) => self.start(tag, data, out),
            Role::Starts => self.start(tag, data, out),
            Role::Continues => {
                self.layout = TagLayout::Parts;
                let held = self.held.as_mut().ok_or(MediaError::Headless)?;
                held.tag.marked |= tag.marked;
                if !held.pieces.push(data) {
                    self.held = None;
                    return Err(MediaError::TooLarge);
                }
                Ok(())
            }
            Role::Leads => {
                let before = self.complete(out);
                if !self.lead.push(data) {
                    self.lead = Pieces::default();
                    return Err(MediaError::TooLarge);
                }
                before
            }
            Role::Trails => {
                if let Some(held) = &mut self.held {
                    held.pieces.push(data);
                }
                Ok(())
            }
        }
    }

    fn start(
        &mut self,
        tag: Tag,
        data: Bytes,
        out: &mut VecDeque<MediaUnit>,
    ) -> Result<(), MediaError> {
        let before = self.complete(out);
        let mut pieces = std::mem::take(&mut self.lead);
        let fits = pieces.push(data);
        self.begun = Some(tag.dts);
        self.held = fits.then_some(HeldPicture { tag, pieces });
        let now = match self.layout {
            TagLayout::Whole => self.flush(out),
            TagLayout::Unknown | TagLayout::Parts => Ok(()),
        };
        before.and(now)
    }

    fn add_av1(&mut self, tag: Tag, out: &mut VecDeque<MediaUnit>) -> Result<(), MediaError> {
        let config = self.config.clone();
        let config = config.filter(|known| known.codec == tag.codec);
        let config = config.ok_or(MediaError::NoVideoConfig)?;
        if tag.data.is_empty() {
            return Err(MediaError::Truncated);
        }
        out.push_back(MediaUnit::Video(AccessUnit {
            pts: tag.pts,
            dts: tag.dts,
            keyframe: tag.marked,
            config,
            data: tag.data,
        }));
        Ok(())
    }

    /// Takes a tag as a whole frame, a keyframe by its header and not by its
    /// flag.
    fn add_vpx(
        &mut self,
        tag: Tag,
        reader: fn() -> VpxReader,
        out: &mut VecDeque<MediaUnit>,
    ) -> Result<(), MediaError> {
        self.begin(tag.codec);
        let reader = self.vpx.get_or_insert_with(reader);
        let unit = reader.unit(tag.pts, tag.dts, tag.data)?;
        out.push_back(MediaUnit::Video(unit));
        Ok(())
    }

    fn nal_length_size(&self) -> u8 {
        self.sets.as_ref().map_or(4, Sets::nal_length_size)
    }

    /// NAL units of the tag with the configuration's length size.
    fn frame(&mut self, tag: &Tag) -> Result<Bytes, MediaError> {
        let framing = NalFraming::of(&tag.data, self.length_size).ok_or(MediaError::Truncated)?;
        let sets = self.sets.get_or_insert_with(|| Sets::new(tag.codec));
        match framing {
            NalFraming::Lengths(size) if size == sets.nal_length_size() => Ok(tag.data.clone()),
            // First configuration of the publisher.
            NalFraming::Lengths(size) if sets.is_empty() && self.lead.parts.is_empty() => {
                sets.set_nal_length_size(size);
                self.length_size = Some(size);
                Ok(tag.data.clone())
            }
            NalFraming::Lengths(size) if sets.nal_length_size() == 4 => {
                Ok(nal::from_lengths(&tag.data, size))
            }
            NalFraming::Lengths(_) => Err(MediaError::Truncated),
            NalFraming::StartCodes => {
                if sets.nal_length_size() != 4 {
                    // Held NAL units have another length size.
                    (self.held, self.lead) = (None, Pieces::default());
                    sets.set_nal_length_size(4);
                    self.config = None;
                }
                Ok(nal::from_start_codes(&tag.data))
            }
        }
    }

    /// Ends the held picture when a tag arrives that belongs neither to it nor
    /// to an earlier one.
    fn complete(&mut self, out: &mut VecDeque<MediaUnit>) -> Result<(), MediaError> {
        let flushed = self.flush(out);
        if self.key_passed && self.layout == TagLayout::Unknown {
            self.layout = TagLayout::Whole;
        }
        flushed
    }

    /// True if a picture is held until it is known to be complete.
    pub(super) fn holds(&self) -> bool {
        self.held.is_some()
    }

    /// Emits the held picture as complete.
    pub(super) fn flush(&mut self, out: &mut VecDeque<MediaUnit>) -> Result<(), MediaError> {
        let Some(HeldPicture { tag, pieces }) = self.held.take() else {
            return Ok(());
        };
        let unit = self.unit(&tag, pieces.join())?;
        out.push_back(MediaUnit::Video(unit));
        Ok(())
    }

    fn unit(&mut self, tag: &Tag, data: Bytes) -> Result<AccessUnit, MediaError> {
        let sets = self.sets.get_or_insert_with(|| Sets::new(tag.codec));
        let hevc = tag.codec == VideoCodec::Hevc;
        let (mut access, mut pps) = (RandomAccess::None, None);
        for nal in nal_units(&data, sets.nal_length_size()).flatten() {
            sets.learn(nal);
            let (found, refers) = if hevc {
                (RandomAccess::of_hevc(nal), hevc::pps_of(nal))
            } else {
                (RandomAccess::of_h264(nal), avc::pps_of(nal))
            };
            pps = pps.or(refers);
            if access != RandomAccess::Instant && found != RandomAccess::None {
                access = found;
            }
        }
        // HEVC's CRA counts too: renditions made from it are re-encoded anyway.
        let starts = match access {
            RandomAccess::Instant => true,
            RandomAccess::Recovery => hevc && nals_hold_irap(&data, sets.nal_length_size()),
            RandomAccess::None => false,
        };
        self.start_seen |= starts;
        // Without any such picture (periodic intra refresh) a recovery point or
        // the encoder's keyframe flag is the best available.
        let flagged = tag.marked || access == RandomAccess::Recovery;
        let keyframe = starts || flagged && !self.start_seen;
        if keyframe {
            self.renew(pps)?;
            self.key_passed = true;
        }
        Ok(AccessUnit {
            pts: tag.pts,
            dts: tag.dts,
            keyframe,
            config: self.config.clone().ok_or(MediaError::NoVideoConfig)?,
            data,
        })
    }

    /// In-band sets replace others from a keyframe on; before, the pictures
    /// that refer to them carry them along.
    fn renew(&mut self, pps: Option<u32>) -> Result<(), MediaError> {
        let sets = self.sets.as_ref().filter(|sets| !sets.is_empty());
        let config = sets.ok_or(MediaError::NoVideoConfig)?.config(pps)?;
        if self.config.as_deref() != Some(&config) {
            self.config = Some(Arc::new(config));
        }
        Ok(())
    }
}

fn nals_hold_irap(data: &[u8], length_size: u8) -> bool {
    nal_units(data, length_size).flatten().any(hevc::is_irap)
}

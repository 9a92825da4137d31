//! Parameter sets of a publisher, from the configuration record, the pictures,
//! or both.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::{avc, hevc};
use crate::codec::config_record::BadConfig;
use crate::{VideoCodec, VideoConfig};

/// Maximum size of a set, far more than any valid one: sets are held for as
/// long as the publisher stays.
const LONGEST: usize = 4096;
/// Maximum number of sets. H.264 allows 32 SPS and 256 PPS.
const MOST: usize = 320;

/// All parameter sets that a picture may refer to, by kind and id.
#[derive(Debug)]
pub struct Sets {
    codec: VideoCodec,
    sets: BTreeMap<(u8, u32), Bytes>,
    /// Record as received, while it matches the sets.
    record: Option<Bytes>,
    nal_length_size: u8,
}

impl Sets {
    pub fn new(codec: VideoCodec) -> Self {
        Self {
            codec,
            sets: BTreeMap::new(),
            record: None,
            nal_length_size: 4,
        }
    }

    /// Sets of a record, which may have none.
    pub fn read(codec: VideoCodec, record: &Bytes) -> Result<Self, BadConfig> {
        let (nal_length_size, nals) = match codec {
            VideoCodec::Hevc => hevc::read_record(record)?,
            _ => avc::read_record(record)?,
        };
        let mut sets = Self::new(codec);
        for nal in nals {
            sets.learn(&nal);
        }
        sets.record = Some(record.clone());
        sets.nal_length_size = nal_length_size;
        Ok(sets)
    }

    pub fn codec(&self) -> VideoCodec {
        self.codec
    }

    pub fn is_empty(&self) -> bool {
        self.sets.is_empty()
    }

    pub fn nal_length_size(&self) -> u8 {
        self.nal_length_size
    }

    pub fn set_nal_length_size(&mut self, size: u8) {
        if std::mem::replace(&mut self.nal_length_size, size) != size {
            self.record = None;
        }
    }

    /// Stores a NAL unit if it is a parameter set, replacing the one with its
    /// id.
    pub fn learn(&mut self, nal: &[u8]) {
        let key = match self.codec {
            VideoCodec::Hevc => hevc::set_key(nal),
            _ => avc::set_key(nal),
        };
        let Some(key) = key.filter(|_| nal.len() <= LONGEST) else {
            return;
        };
        let known = self.sets.get(&key);
        if known.is_some_and(|known| known == nal) || known.is_none() && self.sets.len() >= MOST {
            return;
        }
        // Copied, so that it does not keep a read buffer alive for hours.
        self.sets.insert(key, Bytes::copy_from_slice(nal));
        self.record = None;
    }

    /// Decoder configuration of a picture whose slices refer to this PPS.
    pub fn config(&self, pps: Option<u32>) -> Result<VideoConfig, BadConfig> {
        match self.codec {
            VideoCodec::Hevc => hevc::config(self, pps),
            _ => avc::config(self, pps),
        }
    }

    pub(crate) fn record(&self) -> Option<&Bytes> {
        self.record.as_ref()
    }

    pub(crate) fn of_kind(&self, kind: u8) -> Vec<Bytes> {
        self.sets
            .range((kind, 0)..=(kind, u32::MAX))
            .map(|(_, set)| set.clone())
            .collect()
    }

    pub(crate) fn get(&self, kind: u8, id: u32) -> Option<&Bytes> {
        self.sets.get(&(kind, id))
    }

    /// SPS that a PPS refers to, or the first if that is unknown.
    pub(crate) fn active(
        &self,
        (sps, pps): (u8, u8),
        id: Option<u32>,
        ids: fn(&[u8]) -> Option<(u32, u32)>,
    ) -> Option<Bytes> {
        let pps = id.and_then(|id| self.get(pps, id));
        let referred = pps.and_then(|pps| ids(pps));
        let found = referred.and_then(|(_, id)| self.get(sps, id));
        found
            .cloned()
            .or_else(|| self.of_kind(sps).into_iter().next())
    }
}

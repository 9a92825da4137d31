//! Schedule of packets: the file's timestamps on one monotonic timeline over
//! all its loops. Milliseconds, as in FLV.

use std::time::{Duration, Instant};

use ffmpeg_next as ff;

use super::PublishSummary;

pub(super) const MILLISECONDS: ff::Rational = ff::Rational(1, 1000);

/// Stream of the file and its playback position.
pub(super) struct FileTrack {
    /// Stream index in the file.
    pub(super) input: usize,
    /// Stream index in the publication.
    pub(super) output: usize,
    time_base: ff::Rational,
    /// Reorder delay in packets, from B-frames.
    delay: i64,
    /// Decoding time of the last packet in the file, in milliseconds.
    last_stamp: Option<i64>,
    /// Decoding time of the first packet, without the loop's offset, in
    /// milliseconds.
    first: Option<i64>,
    /// Decoding time of the last packet written, in milliseconds.
    last_dts: Option<i64>,
    /// Duration of the last packet, for packets without one.
    duration: i64,
}

/// Progress of the publication.
pub(super) struct PublishProgress {
    pub(super) begin: Instant,
    /// Offset added to the file's times in this loop, in milliseconds.
    offset: i64,
    /// End of the latest packet so far.
    end: i64,
    pub(super) loops: u64,
    pub(super) bytes: u64,
}

impl PublishProgress {
    pub(super) fn new() -> Self {
        Self {
            begin: Instant::now(),
            offset: 0,
            end: 0,
            loops: 0,
            bytes: 0,
        }
    }

    /// Starts the next loop after this one, offset by the longest track's
    /// duration, so that none overlaps itself; false when nothing was played.
    pub(super) fn next_loop(&mut self, tracks: &mut [FileTrack]) -> bool {
        let lengths = tracks.iter().filter_map(|track| track.length(self));
        let length = lengths.max().unwrap_or_default();
        self.offset = self.offset.saturating_add(length.max(0));
        tracks.iter_mut().for_each(|track| track.last_stamp = None);
        length > 0
    }

    pub(super) fn report(&self, cancelled: bool) -> PublishSummary {
        PublishSummary {
            played: self.played(),
            loops: self.loops,
            bytes: self.bytes,
            cancelled,
        }
    }

    pub(super) fn played(&self) -> Duration {
        Duration::from_millis(self.end.max(0).unsigned_abs())
    }
}

impl FileTrack {
    pub(super) fn new(stream: &ff::Stream<'_>) -> Self {
        Self {
            input: stream.index(),
            output: 0,
            time_base: stream.time_base(),
            delay: decoding_delay(&stream.parameters()),
            last_stamp: None,
            first: None,
            last_dts: None,
            duration: 0,
        }
    }

    /// Assigns the packet its time in the publication; false if it has no
    /// timestamp. Times count from the first packet of the file, `base`.
    ///
    /// Saturating, because a file may contain any timestamp.
    pub(super) fn place(
        &mut self,
        packet: &mut ff::Packet,
        base: &mut Option<i64>,
        progress: &mut PublishProgress,
    ) -> bool {
        packet.rescale_ts(self.time_base, MILLISECONDS);
        let Some(stamp) = packet.dts().or_else(|| self.estimated_dts(packet)) else {
            return false;
        };
        self.last_stamp = Some(stamp);
        let base = *base.get_or_insert(stamp);
        self.first.get_or_insert(stamp.saturating_sub(base));
        let placed = |stamp: i64| stamp.saturating_sub(base).saturating_add(progress.offset);
        let floor = self.last_dts.map_or(0, |last| last.saturating_add(1));
        let dts = placed(stamp).max(floor);
        let pts = placed(packet.pts().unwrap_or(stamp)).max(dts);
        if packet.duration() > 0 {
            self.duration = packet.duration();
        } else if let Some(last) = self.last_dts {
            self.duration = dts.saturating_sub(last);
        }
        packet.set_dts(Some(dts));
        packet.set_pts(Some(pts));
        self.last_dts = Some(dts);
        progress.end = progress.end.max(dts.saturating_add(self.duration));
        true
    }

    /// Estimated decoding time: Matroska stores none, and FFmpeg derives them
    /// only some packets into the file.
    fn estimated_dts(&self, packet: &ff::Packet) -> Option<i64> {
        match self.last_stamp {
            Some(last) => Some(last.saturating_add(packet.duration())),
            None => {
                let early = self.delay.saturating_mul(packet.duration());
                Some(packet.pts()?.saturating_sub(early))
            }
        }
    }

    /// Duration of this track in this loop, in milliseconds.
    fn length(&self, progress: &PublishProgress) -> Option<i64> {
        let end = self.last_dts?.saturating_add(self.duration);
        Some(
            end.saturating_sub(progress.offset)
                .saturating_sub(self.first?),
        )
    }
}

fn decoding_delay(parameters: &ff::codec::Parameters) -> i64 {
    // SAFETY: the wrapper points to live parameters; the field is an integer.
    let delay = unsafe { (*parameters.as_ptr()).video_delay };
    i64::from(delay)
}

//! Viewer state: its position in a stream, and the send path of its packets.
//!
//! Shared packets get their header here, are protected directly in the send
//! buffer, and are sent with as few system calls as their sizes allow.
//!
//! A *run* maps the shared packet indices to this viewer's own 48-bit packet
//! index one to one: index = base + (shared - first). Within a run a packet is
//! always encrypted identically, so a retransmission is byte for byte the same.
//! Whenever pictures are skipped or repeated a new run begins after everything
//! sent so far, so that no index is ever used for two packets.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use bytes::Bytes;
use rtc::interceptor::Acknowledgement;

use watchtower_base::token_bucket::TokenBucket;
use watchtower_transport::gso_batch::{GsoBatch, SendBlocked};
use watchtower_transport::ice_socket::IceSocket;
use watchtower_transport::srtp::Protector;

use super::link::{Link, ReportBlock, Tier};
use crate::packet_cache::{PacketCache, PacketizedFrame};
pub(super) use rtp_stream::{RtpStream, SenderStats};

/// Burst: 20 ms of the pace, between a packet or two and, in bytes, all but the
/// largest pictures of a 1080p screen.
const BURST: f64 = 0.02;
const BURST_LEAST: f64 = 3_000.0;
const BURST_MOST: f64 = 98_304.0;
/// Maximum lag; a viewer behind for longer skips to a keyframe.
const PATIENCE: Duration = Duration::from_secs(3);
/// Minimum interval of replays: a viewer repeats its PLI until it has its
/// picture, and packets in flight must not be sent twice. It grows with
/// repeated requests.
const REPLAY_PAUSE: Duration = Duration::from_millis(500);
const REPLAY_PAUSE_MOST: Duration = Duration::from_secs(2);
/// Interval after which a repeated request means a new loss.
const REPLAY_FORGOTTEN: Duration = Duration::from_secs(20);
/// Maximum duration of a replay: beyond it the next keyframe is nearer.
const REPLAY_MOST: Duration = Duration::from_secs(2);
/// Burst of retransmissions, as time at their rate.
const REPAIR_BURST: Duration = Duration::from_millis(500);
/// Minimum interval between refills of either bucket.
const REFILL_PAUSE: Duration = Duration::from_millis(1);
/// Interval of compressed timestamps, in ticks of 90 kHz: 1 ms.
const SQUEEZED: u32 = 90;

/// Position of a viewer in the stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ViewerPosition {
    /// Waits for a keyframe of this number or later.
    Waiting { from: u64 },
    /// Next packet to send: picture and offset in it.
    At { number: u64, packet: usize },
}

/// Position of a viewer that gets no video.
const NEVER: ViewerPosition = ViewerPosition::Waiting { from: u64::MAX };

/// Bijection from shared packet indices to this viewer's.
#[derive(Debug, Clone, Copy)]
struct PacketIndexMap {
    first: u64,
    base: u64,
}

/// Pictures whose timestamps are compressed so that they play at once.
#[derive(Debug, Clone, Copy)]
struct Squeeze {
    from: u64,
    /// First picture with its own timestamp.
    until: u64,
    first_time: u32,
    step: u32,
}

pub(super) struct Viewer {
    pub(super) id: u64,
    pub(super) line: Arc<IceSocket>,
    protector: Protector,
    video: RtpStream,
    audio: Option<RtpStream>,
    place: ViewerPosition,
    run: PacketIndexMap,
    squeeze: Option<Squeeze>,
    /// Only the keyframe of this group is sent.
    still: bool,
    behind_since: Option<Instant>,
    /// Time since which there has been no picture to start with.
    waits_since: Option<Instant>,
    /// Last replay, and the pause before the next.
    replayed: Option<(Instant, Duration)>,
    link: Link,
    /// Rendition of the current run.
    tier: Tier,
    /// RTP time of the newest picture started.
    newest_time: Option<u32>,
    /// Bytes that may be sent now; negative for a debt.
    allowance: TokenBucket,
    /// Bytes that may be retransmitted now.
    repairs: TokenBucket,
    /// Packets retransmitted recently.
    answered: VecDeque<(u64, Instant)>,
    /// Index at which the padding of a probe continues.
    padding: u64,
}

/// Packet caches of the renditions.
#[derive(Clone, Copy)]
pub(super) struct RenditionCaches<'a> {
    pub(super) full: &'a PacketCache,
    pub(super) small: Option<&'a PacketCache>,
}

impl<'a> RenditionCaches<'a> {
    fn get(&self, tier: Tier) -> &'a PacketCache {
        match (tier, self.small) {
            (Tier::Small, Some(small)) => small,
            _ => self.full,
        }
    }
}

/// Result of a round of sending.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct SendRound {
    pub(super) packets: u64,
    pub(super) bytes: u64,
    /// Pictures skipped.
    pub(super) skipped: u64,
    /// There is more to send.
    pub(super) pending: bool,
}

impl Viewer {
    pub(super) fn new(
        id: u64,
        line: Arc<IceSocket>,
        protector: Protector,
        video: RtpStream,
        audio: Option<RtpStream>,
        now: Instant,
    ) -> Self {
        Self {
            id,
            line,
            protector,
            run: PacketIndexMap {
                first: 0,
                base: video.next,
            },
            video,
            audio,
            place: ViewerPosition::Waiting { from: 0 },
            squeeze: None,
            still: false,
            behind_since: None,
            waits_since: None,
            replayed: None,
            link: Link::new(now),
            tier: Tier::Full,
            newest_time: None,
            allowance: TokenBucket::full(BURST_LEAST, 0.0, now),
            repairs: TokenBucket::full(0.0, 0.0, now),
            answered: VecDeque::new(),
            padding: 0,
        }
    }

    /// Creates a viewer of audio alone: no picture is ever due.
    pub(super) fn listener(
        id: u64,
        line: Arc<IceSocket>,
        protector: Protector,
        audio: Option<RtpStream>,
        now: Instant,
    ) -> Self {
        let unused = RtpStream::new(0, 0, 0, 0);
        Self {
            place: NEVER,
            ..Self::new(id, line, protector, unused, audio, now)
        }
    }

    /// Starts at the newest keyframe, with the pictures since then compressed
    /// up to the live edge; waits for a keyframe if there is none. Of a group
    /// too large to send at once only the keyframe is sent, and then the next
    /// one.
    pub(super) fn start(&mut self, history: &PacketCache, now: Instant) {
        if self.place == NEVER {
            return;
        }
        let rate = history.rate(now);
        self.link.start(rate);
        let repairs = self.link.repairs(rate);
        self.repairs = TokenBucket::full(repairs * REPAIR_BURST.as_secs_f64(), repairs, now);
        let (Some(key), Some(newest)) = (history.keyframe(), history.newest()) else {
            self.place = ViewerPosition::Waiting {
                from: history.next_number(),
            };
            return;
        };
        if !history.is_group_whole() {
            self.begin_run(key, None);
            self.still = true;
            return;
        }
        let older = u32::try_from(newest.number - key.number).unwrap_or(u32::MAX);
        let squeeze = Squeeze {
            from: key.number,
            until: history.next_number(),
            first_time: newest.time.wrapping_sub(older.wrapping_mul(SQUEEZED)),
            step: SQUEEZED,
        };
        self.begin_run(key, Some(squeeze));
    }

    /// Replays a lost picture: the group again under new indices, its
    /// timestamps between the newest picture's and the next one's. Other
    /// viewers are not affected, and this one gets no more than its link
    /// carries.
    pub(super) fn replay(&mut self, caches: RenditionCaches<'_>, now: Instant) -> bool {
        let history = caches.get(self.tier);
        let live = ViewerPosition::At {
            number: history.next_number(),
            packet: 0,
        };
        let since = |at: Instant| now.saturating_duration_since(at);
        let recent = self.replayed.is_some_and(|(at, pause)| since(at) < pause);
        let (Some(key), Some(newest)) = (history.keyframe(), history.newest()) else {
            return false;
        };
        if recent || self.place != live || !history.is_group_whole() {
            return false;
        }
        let spare = self.link.pace(caches.full.sustained(now)) - history.rate(now);
        if history.group_bytes() as f64 > spare * REPLAY_MOST.as_secs_f64() {
            return false;
        }
        let pictures = u32::try_from(newest.number - key.number + 1).unwrap_or(u32::MAX);
        let before = history.get(newest.number.saturating_sub(1));
        let interval = before.map_or(SQUEEZED, |before| newest.time.wrapping_sub(before.time));
        // A step back or a long pause does not predict the next one.
        let interval = if interval > 90_000 {
            SQUEEZED
        } else {
            interval
        };
        let step = (interval / pictures.saturating_add(1)).max(1);
        let squeeze = Squeeze {
            from: key.number,
            until: history.next_number(),
            first_time: newest.time.wrapping_add(step),
            step,
        };
        let pause = match self.replayed {
            Some((at, pause)) if since(at) < REPLAY_FORGOTTEN => (pause * 2).min(REPLAY_PAUSE_MOST),
            _ => REPLAY_PAUSE,
        };
        self.replayed = Some((now, pause.max(self.link.round_trip())));
        self.begin_run(key, Some(squeeze));
        true
    }

    /// Rendition this viewer's link is to be served from.
    pub(super) fn wants(&self) -> Tier {
        self.link.tier()
    }

    pub(super) fn waits_for_small(&self) -> bool {
        self.link.tier() == Tier::Small && self.tier == Tier::Full
    }

    pub(super) fn report(
        &mut self,
        report: ReportBlock,
        caches: RenditionCaches<'_>,
        now: Instant,
    ) {
        let rate = caches.full.sustained(now);
        self.link.report(report, rate, self.video.next, now);
    }

    pub(super) fn arrived(
        &mut self,
        arrivals: &[Acknowledgement],
        caches: RenditionCaches<'_>,
        now: Instant,
    ) {
        let rate = caches.full.sustained(now);
        self.link.arrived(arrivals, rate, self.video.next, now);
    }

    /// Returns to the full rendition when the small one is gone.
    pub(super) fn small_is_gone(&mut self, full: &PacketCache) {
        if self.tier == Tier::Small {
            self.tier = Tier::Full;
            self.place = ViewerPosition::Waiting {
                from: full.next_number(),
            };
        }
    }

    /// Switches to the selected rendition, at a keyframe that continues what
    /// was shown.
    fn change_tier(&mut self, caches: RenditionCaches<'_>) {
        let wanted = self.link.tier();
        if wanted == self.tier || wanted == Tier::Small && caches.small.is_none() {
            return;
        }
        let history = caches.get(wanted);
        let Some(key) = history.keyframe() else {
            return;
        };
        let follows = self
            .newest_time
            .is_none_or(|newest| (key.time.wrapping_sub(newest) as i32) > 0);
        if follows && history.is_group_whole() {
            self.tier = wanted;
            self.behind_since = None;
            self.begin_run(key, None);
        }
    }

    fn begin_run(&mut self, at: &PacketizedFrame, squeeze: Option<Squeeze>) {
        self.place = ViewerPosition::At {
            number: at.number,
            packet: 0,
        };
        self.run = PacketIndexMap {
            first: at.first,
            base: self.video.next,
        };
        self.squeeze = squeeze;
        self.still = false;
        self.waits_since = None;
    }

    /// Time since which it could be shown nothing at all.
    pub(super) fn waits_since(&self) -> Option<Instant> {
        self.waits_since
    }

    pub(super) fn takes_pictures(&self) -> bool {
        self.place != NEVER
    }

    /// Sends what is due, as far as pace and socket allow.
    pub(super) fn pump(
        &mut self,
        caches: RenditionCaches<'_>,
        batch: &mut GsoBatch<'_>,
        now: Instant,
    ) -> Result<SendRound, SendBlocked> {
        let rate = caches.full.sustained(now);
        self.link
            .tick(rate, self.video.next, self.behind_since, now);
        self.video
            .stats
            .strained
            .store(self.link.is_strained(), Ordering::Relaxed);
        self.refill(rate, now);
        self.change_tier(caches);
        let history = caches.get(self.tier);
        let mut sent = SendRound {
            skipped: self.skip_if_slow(history, now),
            ..SendRound::default()
        };
        if let ViewerPosition::Waiting { from } = self.place {
            match history.keyframe() {
                Some(key) if key.number >= from => self.begin_run(key, None),
                _ => {
                    self.waits_since.get_or_insert(now);
                    return Ok(sent);
                }
            }
        }
        let result = self.advance(history, batch, &mut sent, now);
        self.link.sent(sent.packets, now);
        sent.pending = self.is_behind(history);
        if !sent.pending {
            self.behind_since = None;
        } else if self.behind_since.is_none() {
            self.behind_since = Some(now);
        }
        if self.tier == Tier::Small && self.link.is_probing() {
            self.pad(history, batch, &mut sent);
            sent.pending = true;
        }
        // Packets sent are counted even if the socket is full now.
        match result {
            Err(SendBlocked::UdpMux) if sent.packets == 0 => Err(SendBlocked::UdpMux),
            _ => Ok(sent),
        }
    }

    fn advance(
        &mut self,
        history: &PacketCache,
        batch: &mut GsoBatch<'_>,
        sent: &mut SendRound,
        now: Instant,
    ) -> Result<(), SendBlocked> {
        while let ViewerPosition::At { number, packet } = self.place
            && self.allowance.tokens() > 0.0
            && let Some(frame) = history.get(number)
        {
            let rest = frame.packets.len() - packet;
            let (count, bytes) = self.send(frame, packet, rest, batch)?;
            let index = self.run.base + (frame.first - self.run.first) + packet as u64;
            self.video.next = index + count as u64;
            if self.video.numbered.is_some() {
                let parts = frame.packets[packet..packet + count].iter();
                for (index, part) in (index..).zip(parts) {
                    self.link.departed(index, part.size(), now);
                }
            }
            self.allowance.spend(bytes as f64);
            self.newest_time = Some(self.time(frame));
            sent.packets += count as u64;
            sent.bytes += bytes as u64;
            let done = packet + count == frame.packets.len();
            self.place = match done {
                true if self.still => ViewerPosition::Waiting { from: number + 1 },
                true => ViewerPosition::At {
                    number: number + 1,
                    packet: 0,
                },
                false => ViewerPosition::At {
                    number,
                    packet: packet + count,
                },
            };
        }
        self.video.stats.add(sent.packets, sent.bytes);
        Ok(())
    }

    /// Sends some of a picture's packets in one batch. Returns their number and
    /// payload bytes.
    fn send(
        &mut self,
        frame: &PacketizedFrame,
        from: usize,
        most: usize,
        batch: &mut GsoBatch<'_>,
    ) -> Result<(usize, usize), SendBlocked> {
        let time = self.time(frame);
        // A single packet's retransmission ignores the allowance.
        let room = self.allowance.tokens().max(1.0);
        let index = self.run.base + (frame.first - self.run.first) + from as u64;
        let overhead = self.video.header_length() + self.protector.tag_length();
        let mut batch = batch.batch(&self.line, overhead);
        let (mut count, mut bytes) = (0, 0);
        for packet in frame.packets[from..].iter().take(most) {
            if !batch.has_room(packet.size()) || bytes as f64 >= room {
                break;
            }
            let index = index + count as u64;
            let header = self.video.header(index, packet.marker, time);
            batch.add(&header, packet, &mut self.protector, self.video.ssrc, index);
            count += 1;
            bytes += packet.size();
        }
        batch.send()?;
        Ok((count, bytes))
    }

    /// Sends an audio packet. Its loss is not repaired: it would arrive too
    /// late.
    pub(super) fn send_audio(
        &mut self,
        packet: &Bytes,
        time: u32,
        batch: &mut GsoBatch<'_>,
    ) -> Option<SendRound> {
        let rtp_stream = self.audio.as_mut()?;
        let header = rtp_stream.header(rtp_stream.next, false, time);
        let overhead = rtp_stream.header_length() + self.protector.tag_length();
        let mut batch = batch.batch(&self.line, overhead);
        let packet = watchtower_transport::packetizer::Packet::whole(packet.clone(), false);
        batch.add(
            &header,
            &packet,
            &mut self.protector,
            rtp_stream.ssrc,
            rtp_stream.next,
        );
        // The index is used up even if the packet is lost here.
        rtp_stream.next += 1;
        batch.send().ok()?;
        let bytes = packet.size() as u64;
        self.allowance.spend(packet.size() as f64);
        rtp_stream.stats.add(1, bytes);
        Some(SendRound {
            packets: 1,
            bytes,
            ..SendRound::default()
        })
    }

    /// Shared index of a packet of this run.
    fn shared_index(&self, index: u64) -> Option<u64> {
        Some(self.run.first + index.checked_sub(self.run.base)?)
    }

    fn time(&self, frame: &PacketizedFrame) -> u32 {
        match self.squeeze {
            Some(squeeze) if (squeeze.from..squeeze.until).contains(&frame.number) => {
                let nth = (frame.number - squeeze.from) as u32;
                squeeze
                    .first_time
                    .wrapping_add(nth.wrapping_mul(squeeze.step))
            }
            _ => frame.time,
        }
    }

    fn is_behind(&self, history: &PacketCache) -> bool {
        matches!(self.place, ViewerPosition::At { number, .. } if number < history.next_number())
    }

    /// Moves a viewer that is too far behind, or whose next picture is evicted,
    /// to a keyframe. Returns the number of pictures skipped.
    fn skip_if_slow(&mut self, history: &PacketCache, now: Instant) -> u64 {
        let ViewerPosition::At { number, .. } = self.place else {
            return 0;
        };
        let gone = number < history.next_number() && history.get(number).is_none();
        let slow = self
            .behind_since
            .is_some_and(|since| now.saturating_duration_since(since) > PATIENCE);
        if !gone && !slow {
            return 0;
        }
        match history.keyframe() {
            Some(key) if key.number > number && history.is_group_whole() => {
                self.behind_since = None;
                self.begin_run(key, None);
                key.number - number
            }
            _ if gone => {
                let from = history.next_number();
                self.place = ViewerPosition::Waiting { from };
                from - number
            }
            // Late pictures are better than none.
            _ => 0,
        }
    }

    fn refill(&mut self, rate: f64, now: Instant) {
        let since = now.saturating_duration_since(self.allowance.refilled_at());
        if since < REFILL_PAUSE {
            return;
        }
        let pace = self.link.pace(rate);
        let burst = (pace * BURST).clamp(BURST_LEAST, BURST_MOST);
        self.allowance.set_rate(burst, pace);
        self.allowance.refill(now);
        let repairs = self.link.repairs(rate);
        let most = repairs * REPAIR_BURST.as_secs_f64();
        self.repairs.set_rate(most, repairs);
        self.repairs.refill(now);
    }
}

mod resend;
mod rtp_stream;
#[cfg(test)]
mod tests;

//! Tests of the controller over an emulated DSL link, in virtual time: a token
//! bucket with a queue of 200 ms that drops the excess.

use super::*;

const PACKET: f64 = 1100.0;
const STEP: Duration = Duration::from_millis(2);
const DELAY: Duration = Duration::from_millis(20);
/// 2.65 Mb/s.
const RATE: f64 = 331_250.0;

struct SimulatedLink {
    capacity: f64,
    queued: f64,
    /// Delivery times of packets, and whether each ends a picture.
    arriving: VecDeque<(Instant, TestPacket)>,
    /// Losses by packet index, with the time the sender learns of each.
    feedback: VecDeque<(Instant, u64)>,
}

#[derive(Clone, Copy)]
struct TestPacket {
    index: u64,
    /// The last packet of a picture.
    last: bool,
}

impl SimulatedLink {
    fn drain(&mut self) {
        self.queued = (self.queued - self.capacity * STEP.as_secs_f64()).max(0.0);
    }

    fn send(&mut self, item: TestPacket, now: Instant) {
        let wait = Duration::from_secs_f64(self.queued / self.capacity);
        if self.queued + PACKET > 0.2 * self.capacity {
            // Missed when the next arrives, reported a one-way delay later.
            self.feedback
                .push_back((now + wait + 2 * DELAY, item.index));
        } else {
            self.queued += PACKET;
            self.arriving.push_back((now + wait + DELAY, item));
        }
    }
}

#[derive(Default)]
struct LinkTrace {
    /// Bytes sent in each second.
    sent: Vec<f64>,
    /// Times at which pictures were complete, in seconds.
    pictures: Vec<f64>,
    tiers: Vec<(f64, Tier)>,
}

impl LinkTrace {
    fn gap(&self, from: f64) -> f64 {
        let late: Vec<_> = self.pictures.iter().filter(|at| **at > from).collect();
        let gaps = late.windows(2).map(|pair| pair[1] - pair[0]);
        gaps.fold(0.0, f64::max)
    }

    fn rate(&self, from: f64, until: f64) -> f64 {
        let within = |at: &&f64| (from..until).contains(*at);
        self.pictures.iter().filter(within).count() as f64 / (until - from)
    }

    fn most(&self) -> f64 {
        self.sent
            .iter()
            .skip(2)
            .fold(0.0, |most, sent| f64::max(most, *sent))
    }
}

/// Pictures a second and packets of a picture: the full stream has 30,
/// keyframes every 2 s; the small one 15, with a third of the bytes.
fn picture(tier: Tier, nth: u64) -> (bool, u64) {
    let (group, total) = match tier {
        Tier::Full => (60, 2.0 * RATE / PACKET),
        Tier::Small => (30, 2.0 * RATE / PACKET / 3.0),
    };
    let key = total / 6.0;
    match nth % group {
        0 => (true, key as u64),
        _ => (false, ((total - key) / (group - 1) as f64) as u64),
    }
}

/// Simulates a viewer for so many seconds on links of (second, share of the
/// rate).
fn watch(seconds: u64, links: &[(u64, f64)]) -> LinkTrace {
    let start = Instant::now();
    let mut link = Link::new(start);
    link.start(RATE);
    let mut wire = SimulatedLink {
        capacity: links[0].1 * RATE,
        queued: 0.0,
        arriving: VecDeque::new(),
        feedback: VecDeque::new(),
    };
    let mut seen = LinkTrace::default();
    let (mut tier, mut next, mut produced) = (Tier::Full, 0u64, [0u64; 2]);
    let mut queue: VecDeque<TestPacket> = VecDeque::new();
    let (mut allowance, mut repairs) = (0.0, 0.0f64);
    let (mut behind, mut reported) = (None, start);
    let mut missing: std::collections::BTreeSet<u64> = Default::default();
    let mut again: VecDeque<(Instant, u64)> = VecDeque::new();
    let mut ends: std::collections::BTreeMap<u64, u64> = Default::default();
    let mut begun = 0u64;
    for tick in 0..seconds * 500 {
        let now = start + STEP * u32::try_from(tick).expect("short");
        let at = (now - start).as_secs_f64();
        if let Some((_, share)) = links.iter().rfind(|(from, _)| *from as f64 <= at) {
            wire.capacity = share * RATE;
        }
        for (place, each, fps) in [(0, Tier::Full, 30), (1, Tier::Small, 15)] {
            if tick * fps / 500 < produced[place] {
                continue;
            }
            let (key, packets) = picture(each, produced[place]);
            produced[place] += 1;
            if each == link.tier() && each != tier && key {
                // Packets not sent yet are skipped.
                tier = each;
                next = queue.front().map_or(next, |item| item.index.min(next));
                queue.clear();
                seen.tiers.push((at, tier));
            }
            if each == tier {
                let first = queue.back().map_or(next, |item| item.index + 1);
                for nth in 0..packets {
                    let last = nth + 1 == packets;
                    queue.push_back(TestPacket {
                        index: first + nth,
                        last,
                    });
                }
            }
        }
        wire.drain();
        link.tick(RATE, next, behind, now);
        let pace = link.pace(RATE);
        let seconds = STEP.as_secs_f64();
        allowance = (allowance + pace * seconds).min((pace * 0.02).max(3000.0));
        repairs = (repairs + link.repairs(RATE) * seconds).min(link.repairs(RATE) / 2.0);
        let mut sent = 0.0;
        // Repeated every round trip until it has arrived.
        while wire.feedback.front().is_some_and(|(due, _)| *due <= now) {
            let (_, index) = wire.feedback.pop_front().expect("there");
            link.lost(index, now);
            missing.insert(index);
            again.push_back((now, index));
        }
        while again.front().is_some_and(|(due, _)| *due <= now) {
            let (_, index) = again.pop_front().expect("there");
            if repairs > 0.0 {
                repairs -= PACKET;
                allowance -= PACKET;
                sent += PACKET;
                wire.send(
                    TestPacket {
                        index,
                        last: ends.contains_key(&index),
                    },
                    now,
                );
            } else {
                again.push_back((now + link.round_trip(), index));
            }
        }
        while allowance > 0.0 {
            let item = match queue.pop_front() {
                Some(item) => {
                    next = item.index + 1;
                    link.sent(1, now);
                    if item.last {
                        ends.insert(item.index, begun);
                    }
                    begun = if item.last { next } else { begun };
                    item
                }
                None if link.is_probing() && tier == Tier::Small => TestPacket {
                    index: u64::MAX,
                    last: false,
                },
                None => break,
            };
            allowance -= PACKET;
            sent += PACKET;
            if item.index != u64::MAX {
                wire.send(item, now);
            } else if wire.queued + PACKET <= 0.2 * wire.capacity {
                wire.queued += PACKET;
            }
        }
        behind = match (queue.is_empty(), behind) {
            (true, _) => None,
            (false, None) => Some(now),
            (false, since) => since,
        };
        while wire.arriving.front().is_some_and(|(due, _)| *due <= now) {
            let (_, item) = wire.arriving.pop_front().expect("there");
            missing.remove(&item.index);
            let done = |end: u64, begun: u64| missing.range(begun..=end).next().is_none();
            // A picture is complete when none of its packets is missing.
            let whole: Vec<u64> = ends
                .range(
                    ..=if item.last || ends.contains_key(&item.index) {
                        item.index
                    } else {
                        0
                    },
                )
                .filter(|(end, begun)| done(**end, **begun))
                .map(|(end, _)| *end)
                .collect();
            for end in whole {
                ends.remove(&end);
                seen.pictures.push(at);
            }
        }
        if now - reported >= Duration::from_millis(1000) {
            reported = now;
            let queue = Duration::from_secs_f64(wire.queued / wire.capacity);
            let report = ReportBlock {
                lost: 0.0,
                round_trip: Some(queue + 2 * DELAY),
            };
            link.report(report, RATE, next, now);
        }
        if seen.sent.len() <= at as usize {
            seen.sent.push(0.0);
        }
        *seen.sent.last_mut().expect("pushed") += sent;
    }
    seen
}

#[test]
fn at_a_fifth_more_than_the_rate_the_full_stream_is_held() {
    let seen = watch(30, &[(0, 1.2)]);
    println!("{:?} {:?} gap {}", seen.tiers, seen.sent, seen.gap(2.0));
    assert!(seen.tiers.is_empty(), "{:?}", seen.tiers);
    assert!(
        (seen.rate(10.0, 30.0) - 30.0).abs() < 1.0,
        "{}",
        seen.rate(10.0, 30.0)
    );
    assert!(seen.gap(2.0) < 1.0);
    assert!(seen.most() <= 1.5 * RATE, "{:?}", seen.sent);
}

#[test]
fn at_three_fifths_of_the_rate_the_small_rendition_is_steady() {
    let seen = watch(60, &[(0, 0.6)]);
    println!("{:?} {:?} gap {}", seen.tiers, seen.sent, seen.gap(0.0));
    assert_eq!(seen.tiers.last().map(|(_, tier)| *tier), Some(Tier::Small));
    assert!(
        seen.tiers.len() == 1,
        "a probe is no change: {:?}",
        seen.tiers
    );
    assert!(seen.tiers[0].0 < 4.5, "{:?}", seen.tiers);
    assert!(seen.rate(5.0, 60.0) > 10.0, "{}", seen.rate(5.0, 60.0));
    assert!(seen.gap(0.0) < 2.0, "{}", seen.gap(0.0));
    assert!(seen.most() <= 1.5 * RATE, "{:?}", seen.sent);
}

#[test]
fn at_twice_the_rate_nothing_is_changed() {
    let seen = watch(20, &[(0, 2.0)]);
    assert!(seen.tiers.is_empty(), "{:?}", seen.tiers);
    assert!((seen.rate(3.0, 20.0) - 30.0).abs() < 1.0);
    assert!(seen.gap(1.0) < 0.5);
}

#[test]
fn when_the_link_comes_back_so_does_the_stream() {
    let seen = watch(60, &[(0, 0.6), (15, 2.0)]);
    let changes: Vec<_> = seen.tiers.iter().map(|(_, tier)| *tier).collect();
    assert_eq!(changes, [Tier::Small, Tier::Full], "{:?}", seen.tiers);
    assert!(seen.tiers[1].0 < 45.0, "{:?}", seen.tiers);
    assert!((seen.rate(50.0, 60.0) - 30.0).abs() < 1.5);
}

#[test]
fn a_lost_packet_counts_once_and_only_in_its_epoch() {
    let now = Instant::now();
    let mut link = Link::new(now);
    link.start(RATE);
    let pace = link.pace(RATE);
    link.sent(100, now);
    for index in 0..8 {
        link.lost(index, now);
        link.lost(index, now);
    }
    link.tick(RATE, 100, None, now);
    // 8 %: no congestion while the queue is short.
    assert_eq!(link.pace(RATE), pace);
    for index in 8..20 {
        link.lost(index, now);
    }
    link.tick(RATE, 100, None, now);
    let cut = link.pace(RATE);
    assert!(cut < pace);
    link.sent(30, now);
    for index in 20..100 {
        link.lost(index, now);
    }
    link.tick(RATE, 130, None, now);
    assert_eq!(link.pace(RATE), cut);
}

#[test]
fn a_probe_sends_no_faster_than_the_stream() {
    use rtc::rtcp::transport_feedbacks::cc_feedback_report::Ecn;
    let start = Instant::now();
    let mut link = Link::new(start);
    link.start(RATE);
    link.congested(RATE, 0, start);
    link.use_small(start);
    let mut index = 0;
    let mut fastest: f64 = 0.0;
    // The small rendition arrives without delay.
    for step in 1..200 {
        let now = start + Duration::from_millis(50) * step;
        link.tick(RATE, index, None, now);
        if link.is_probing() {
            let share = link.pace(RATE) / RATE;
            assert!((1.0..=HOLDS).contains(&share), "{share}");
            assert!(fastest > HOLDS * RATE, "{fastest}");
            return;
        }
        fastest = fastest.max(link.pace(RATE));
        let sent = index..index + 5;
        index = sent.end;
        let arrivals = sent.map(|index| {
            link.departed(index, 1100, now);
            let arrival = Duration::from_secs(9) + now.saturating_duration_since(start);
            Acknowledgement::received(index as u16, Some(arrival), Ecn::NotEct)
        });
        let arrivals: Vec<_> = arrivals.collect();
        link.arrived(&arrivals, RATE, index, now);
    }
    panic!("no probe");
}

use super::*;

const WIDTH: u32 = 640;
const HEIGHT: u32 = 480;

/// Pattern like a word, 12 pixels high.
fn write(picture: &mut Picture, x: u32, y: u32, width: u32, shade: u8) {
    for row in y..y + 12 {
        for column in (x..x + width).filter(|column| (column / 2) % 2 == 0) {
            picture.y[(row * picture.width + column) as usize] = shade;
        }
    }
}

struct GateFeed {
    gate: ChangeGate,
    seq: u64,
    ms: i64,
}

impl GateFeed {
    fn new() -> Self {
        Self {
            gate: ChangeGate::new(),
            seq: 0,
            ms: 0,
        }
    }

    /// Passes the next sample, half a second later; true if a generation began.
    fn show(&mut self, picture: &Picture) -> bool {
        self.seq += 1;
        self.ms += 500;
        let at = Timestamp::from_millisecond(self.ms).unwrap();
        let changes = self.gate.process(picture, self.seq, at);
        changes.whole == self.seq || changes.generations.contains(&self.seq)
    }

    fn changed(&self, since: u64) -> Vec<crate::picture::Rect> {
        self.gate.changes.since(Some(since), WIDTH, HEIGHT)
    }
}

#[test]
fn noise_is_no_change_and_a_word_counts_at_the_second_sample() {
    let mut feed = GateFeed::new();
    let mut picture = Picture::grey(WIDTH, HEIGHT);
    assert!(feed.show(&picture), "the first look");
    for (at, sample) in picture.y.iter_mut().enumerate() {
        *sample = sample.wrapping_add((at % 7) as u8);
    }
    assert!(!feed.show(&picture));
    write(&mut picture, 40, 100, 20, 250);
    assert!(!feed.show(&picture), "it may be passing by");
    assert!(feed.show(&picture));
    let changed = feed.changed(feed.seq - 1);
    assert_eq!(changed.len(), 1, "{changed:?}");
    assert!(changed[0].x <= 40 && changed[0].right() >= 60 && changed[0].height <= 64);
    assert!(!feed.show(&picture));
}

#[test]
fn a_picture_settles_once_it_is_sharp() {
    let mut feed = GateFeed::new();
    let mut picture = Picture::grey(WIDTH, HEIGHT);
    feed.show(&picture);
    assert!(feed.gate.changes.settling, "nothing is known of it");
    feed.show(&picture);
    assert!(!feed.gate.changes.settling);
    for shade in [150, 200, 250] {
        for y in (40..400).step_by(24) {
            write(&mut picture, 40, y, 300, shade);
        }
        feed.show(&picture);
        assert!(feed.gate.changes.settling, "at {shade}");
    }
    feed.show(&picture);
    assert!(!feed.gate.changes.settling);
    write(&mut picture, 500, 20, 30, 250);
    feed.show(&picture);
    assert!(!feed.gate.changes.settling, "a clock");
}

#[test]
fn a_passing_mouse_is_no_change() {
    let mut feed = GateFeed::new();
    let empty = Picture::grey(WIDTH, HEIGHT);
    feed.show(&empty);
    for x in 0..20 {
        let mut picture = empty.clone();
        write(&mut picture, 20 + x * 30, 40 + x * 20, 12, 250);
        assert!(!feed.show(&picture), "at {x}");
    }
}

#[test]
fn clock_is_ignored_and_counts_once_at_rest() {
    let mut feed = GateFeed::new();
    let mut picture = Picture::grey(WIDTH, HEIGHT);
    feed.show(&picture);
    // One change a second, as of a clock.
    let mut generations = Vec::new();
    for tick in 0..50 {
        write(
            &mut picture,
            500,
            20,
            30,
            if (tick / 2) % 2 == 0 { 250 } else { 20 },
        );
        generations.push(feed.show(&picture));
    }
    assert!(generations[..16].contains(&true));
    assert!(!generations[20..].contains(&true), "{generations:?}");
    // Text elsewhere counts meanwhile.
    write(&mut picture, 40, 300, 40, 250);
    feed.show(&picture);
    assert!(feed.show(&picture));
    let rest: Vec<_> = (0..7).map(|_| feed.show(&picture)).collect();
    assert_eq!(
        rest.iter().filter(|generation| **generation).count(),
        1,
        "{rest:?}"
    );
}

#[test]
fn scrolling_terminal_still_counts() {
    let mut feed = GateFeed::new();
    let mut late = 0;
    for step in 0..50_u32 {
        let mut picture = Picture::grey(WIDTH, HEIGHT);
        for row in 0..20 {
            let length = 60 + (row + step) * 37 % 300;
            write(&mut picture, 20, 20 + row * 20, length, 250);
        }
        let generation = feed.show(&picture);
        late = if generation { 0 } else { late + 1 };
        assert!(late <= 4, "two seconds without a generation at step {step}");
    }
    assert!(feed.gate.changes.noisy.contains(&true));
}

#[test]
fn still_picture_has_a_heartbeat_without_motion() {
    let mut feed = GateFeed::new();
    let picture = Picture::grey(WIDTH, HEIGHT);
    let generations: Vec<_> = (0..122).map(|_| feed.show(&picture)).collect();
    let at: Vec<_> = (0..122).filter(|sample| generations[*sample]).collect();
    assert_eq!(at, [0, 60, 120]);
    assert_eq!(
        feed.gate.changes.moved_at,
        Timestamp::from_millisecond(500).unwrap()
    );
    assert!(!feed.gate.changes.ticking);
}

#[test]
fn low_bitrate_encoder_is_detected() {
    let mut feed = GateFeed::new();
    let clean = Picture::grey(WIDTH, HEIGHT);
    feed.show(&clean);
    let mut generations = Vec::new();
    for sample in 0..40_u32 {
        let mut picture = clean.clone();
        // Artefacts in one tile of eight, others each time.
        for (at, value) in picture.y.iter_mut().enumerate() {
            let (x, y) = (at as u32 % WIDTH / 32, at as u32 / WIDTH / 32);
            if (x + y * 3 + sample / 3) % 8 == 0 && (at / 2) % 8 == 0 {
                *value += 45;
            }
        }
        generations.push(feed.show(&picture));
    }
    assert!(!generations[20..].contains(&true), "{generations:?}");
    let mut picture = clean.clone();
    write(&mut picture, 40, 100, 120, 250);
    write(&mut picture, 40, 130, 120, 250);
    feed.show(&picture);
    assert!(feed.show(&picture), "a real change is still seen");
}

#[test]
fn any_size_is_accepted_and_a_new_size_resets() {
    let mut feed = GateFeed::new();
    for (width, height) in [
        (1, 1),
        (1, 9),
        (3, 2),
        (2, 3),
        (17, 33),
        (0, 0),
        (16, 16),
        (7680, 4320),
    ] {
        assert!(feed.show(&Picture::grey(width, height)), "{width}x{height}");
        feed.show(&Picture::grey(width, height));
    }
}

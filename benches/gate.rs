//! Cost of the change gate per frame: 1920x1080, a page of text with a clock
//! and a little noise.

use std::hint::black_box;

use bytes::Bytes;
use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use jiff::Timestamp;
use watchtower::base::stream_name::StreamName;
use watchtower::media::MediaTime;
use watchtower::screen::frames::FrameBus;
use watchtower::screen::picture::Picture;

const WIDTH: usize = 1920;
const HEIGHT: usize = 1080;

/// Rows of text-like patterns; the last row varies.
fn page(tick: usize) -> Picture {
    let mut y = vec![24; WIDTH * HEIGHT];
    for (at, sample) in y.iter_mut().enumerate() {
        let (column, row) = (at % WIDTH, at / WIDTH);
        let seed = if row > HEIGHT - 30 { tick } else { 0 };
        if row % 24 < 12 && (column / 3 + row / 24 + seed) % 3 == 0 {
            *sample = 220;
        }
        *sample += ((at + tick) % 5) as u8;
    }
    Picture {
        width: WIDTH as u32,
        height: HEIGHT as u32,
        y,
        u: vec![128; WIDTH * HEIGHT / 4],
        v: vec![128; WIDTH * HEIGHT / 4],
    }
}

fn gate(c: &mut Criterion) {
    let bus = FrameBus::new();
    let stream = StreamName::new("bench").expect("a good name");
    let mut publisher = bus.open(&stream, |_| Ok(Bytes::new()));
    let pages: Vec<_> = (0..8).map(page).collect();
    let mut tick = 0;
    c.bench_function("gate, 1080p", |b| {
        b.iter_batched(
            || {
                tick += 1;
                (pages[tick % pages.len()].clone(), tick)
            },
            |(picture, tick)| {
                let ms = 500 * tick as i64;
                let at = Timestamp::from_millisecond(ms).expect("a time");
                black_box(publisher.publish(picture, MediaTime::from_ms(ms), at))
            },
            BatchSize::LargeInput,
        );
    });
}

criterion_group!(benches, gate);
criterion_main!(benches);

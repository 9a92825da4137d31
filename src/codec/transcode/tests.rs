use jiff::Timestamp;

use watchtower_base::stream_name::StreamName;
use watchtower_media::hub::renditions::{OpusPacket, RenditionKind};
use watchtower_media::hub::{Received, Subscriber};
use watchtower_media::{AccessUnit, AudioCodec, AudioUnit, MediaTime, MediaUnit, VideoConfig};

use super::audio::ToOpus;
use super::video::ToH264;
use super::worker::Transcoder;
use super::*;
use crate::clips;
use crate::video::VideoDecoder;

const SECOND: i64 = 1000 * MediaTime::TICKS_PER_MS;

fn name() -> StreamName {
    StreamName::new("team").expect("valid")
}

/// AAC units of so many seconds as a publisher would send them.
fn sound(seconds: u32, options: &str) -> Vec<AudioUnit> {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("clip.mp4");
    let source = format!("-f lavfi -i sine=frequency=440:sample_rate=44100 -t {seconds}");
    clips::make(&format!("{source} -c:a aac {options}"), &path);
    clips::read_sound(&path, AudioCodec::Aac)
}

fn to_opus(units: &[AudioUnit], shift: i64) -> Vec<OpusPacket> {
    let renditions = Renditions::new();
    let mut audio_packets = renditions.audio(&name());
    let mut transcoder = ToOpus::new(name(), renditions);
    let mut packets = Vec::new();
    for (nth, unit) in units.iter().enumerate() {
        let mut unit = unit.clone();
        if nth >= units.len() / 2 {
            unit.pts.0 += shift;
        }
        let unit = MediaUnit::Audio(unit);
        transcoder.unit(&unit, true).expect("a sound codec");
        while let Ok(packet) = audio_packets.try_recv() {
            packets.push(packet);
        }
    }
    packets
}

#[test]
fn sound_comes_out_whole_and_in_time() {
    for options in ["-ar 48000 -ac 2", "-ar 44100 -ac 1", "-ar 22050 -ac 2"] {
        let packets = to_opus(&sound(3, options), 0);
        assert!((145..=158).contains(&packets.len()), "{}", packets.len());
        // Packets of 20 ms each, contiguous, from the source's start.
        assert!(packets[0].pts.0.abs() < SECOND / 10, "{options}");
        for pair in packets.windows(2) {
            assert_eq!(pair[1].pts.0 - pair[0].pts.0, SECOND / 50, "{options}");
        }
        let bytes: usize = packets.iter().map(|packet| packet.packet.len()).sum();
        assert!(bytes > 3 * 4000, "{options}: silence takes less");
    }
}

#[test]
fn sound_follows_a_gap_in_the_source() {
    let packets = to_opus(&sound(2, "-ar 48000"), 5 * SECOND);
    let steps: Vec<_> = packets
        .windows(2)
        .map(|pair| pair[1].pts.0 - pair[0].pts.0)
        .filter(|step| *step != SECOND / 50)
        .collect();
    assert_eq!(steps.len(), 1, "{steps:?}");
    assert!((steps[0] - 5 * SECOND).abs() < SECOND / 10, "{steps:?}");
}

/// H.264 rendition of a clip, with a keyframe requested before unit
/// `keyframe_at`.
pub(super) fn to_h264(
    units: &[AccessUnit],
    kind: RenditionKind,
    keyframe_at: Option<usize>,
) -> Vec<AccessUnit> {
    let renditions = Renditions::new();
    let demanded = Demanded {
        stream: name(),
        kind,
    };
    let mut transcoder = ToH264::new(demanded, renditions.clone(), Arc::default());
    let hub = renditions.pictures(kind).expect("pictures");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .expect("a runtime");
    let mut subscriber = None;
    let mut rendition = Vec::new();
    for (nth, unit) in units.iter().enumerate() {
        if keyframe_at == Some(nth) {
            renditions.request_keyframe(&name(), kind);
        }
        let unit = MediaUnit::Video(unit.clone());
        transcoder.unit(&unit, true).expect("a video codec");
        if subscriber.is_none() {
            subscriber = hub.subscribe(&name());
        }
        while let Some(subscriber) = subscriber.as_mut().filter(|known| known.waiting() > 0) {
            match runtime.block_on(subscriber.recv()) {
                Some(Received::Unit(MediaUnit::Video(unit))) => rendition.push(unit),
                other => panic!("expected a picture, got {other:?}"),
            }
        }
    }
    rendition
}

#[test]
fn pictures_come_out_in_the_order_they_are_shown() {
    let source = "testsrc2=s=320x180:r=25:d=5";
    let units = clips::units(source, "-bf 2 -x264-params b-adapt=0 -g 250");
    assert!(units.iter().any(|unit| unit.pts != unit.dts));
    let rendition = to_h264(&units, RenditionKind::Video, Some(30));
    // Pictures still held in the decoder at the end are missing.
    assert!(rendition.len() >= units.len() - 4, "{}", rendition.len());
    let mut shown: Vec<_> = units.iter().map(|unit| unit.pts).collect();
    shown.sort();
    let times: Vec<_> = rendition.iter().map(|unit| unit.pts).collect();
    assert_eq!(times, shown[..times.len()]);
    assert!(rendition.iter().all(|unit| unit.pts == unit.dts));
    // The first, the requested one, and one every two seconds.
    let keys: Vec<_> = rendition
        .iter()
        .enumerate()
        .filter(|(_, unit)| unit.keyframe)
        .map(|(nth, _)| nth)
        .collect();
    assert_eq!(keys[0], 0);
    assert!((26..=32).contains(&keys[1]), "{keys:?}");
    assert_eq!(keys[2] - keys[1], 50, "{keys:?}");
}

#[test]
fn the_rendition_of_any_source_is_constrained_baseline() {
    for (size, format) in [
        ("321x181", "yuv444p"),
        ("320x180", "yuv420p10le"),
        ("320x180", "yuvj420p"),
        ("320x180", "yuv422p"),
    ] {
        let source = format!("testsrc2=s={size}:r=10:d=1");
        let units = clips::units(&source, &format!("-pix_fmt {format}"));
        let rendition = to_h264(&units, RenditionKind::Video, None);
        let config = &rendition.first().expect("a picture").config;
        assert_eq!((config.width, config.height), (320, 180), "{format}");
        // Constrained Baseline (ITU-T H.264, section A.2.1.1).
        assert_eq!(config.sps[0][1], 66, "{format}");
        assert_eq!(config.sps[0][2] & 0x40, 0x40, "{format}");
        let mut decoder = VideoDecoder::open(config).expect("a decoder");
        decoder
            .send(&rendition[0], Timestamp::now())
            .expect("sound");
        decoder.drain().expect("drained");
        let picture = decoder.receive().expect("decodable").expect("a picture");
        assert_eq!((picture.frame.width(), picture.frame.height()), (320, 180));
        assert!(!picture.damaged);
    }
}

/// Single picture that is available to be received.
fn received(subscriber: &mut Subscriber) -> AccessUnit {
    assert!(subscriber.waiting() > 0);
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    match runtime.expect("a runtime").block_on(subscriber.recv()) {
        Some(Received::Unit(MediaUnit::Video(unit))) => unit,
        other => panic!("expected a picture, got {other:?}"),
    }
}

#[test]
fn a_late_viewer_of_an_endless_group_begins_with_the_newest_picture() {
    for options in [
        "-bf 0 -g 9999",
        "-tune zerolatency -g 30 -x264-params intra-refresh=1",
        "-bf 2 -g 30 -x264-params open-gop=1:scenecut=0",
    ] {
        let units = clips::units("testsrc2=s=320x180:r=15:d=8", options);
        let renditions = Renditions::new();
        let demanded = Demanded {
            stream: name(),
            kind: RenditionKind::Video,
        };
        let mut transcoder = ToH264::new(demanded, renditions.clone(), Arc::default());
        transcoder.wanted(false).expect("no codec needed");
        for unit in &units[..100] {
            let unit = MediaUnit::Video(unit.clone());
            transcoder.unit(&unit, true).expect("a video codec");
            assert!(renditions.video().subscribe(&name()).is_none());
        }
        transcoder.wanted(true).expect("a codec");
        let mut rendition = renditions.video().subscribe(&name()).expect("there");
        let first = received(&mut rendition);
        assert!(first.keyframe, "{options}");
        let newest = units[..100].iter().map(|unit| unit.pts).max();
        let behind = newest.expect("pictures").0 - first.pts.0;
        assert!(behind <= SECOND / 3, "{options}: {behind} ticks behind");
    }
}

#[test]
fn parameter_sets_that_change_between_keyframes_keep_the_pictures() {
    let mut units = clips::units("testsrc2=s=320x180:r=15:d=2", "-bf 0 -g 9999");
    // The same parameter sets in a record with different bytes.
    let mut config = VideoConfig::clone(&units[0].config);
    let mut record = config.record.to_vec();
    record[4] ^= 0x80;
    config.record = record.into();
    let config = Arc::new(config);
    for unit in &mut units[10..] {
        unit.config = Arc::clone(&config);
    }
    let rendition = to_h264(&units, RenditionKind::Video, None);
    assert_eq!(rendition.len(), units.len());
}

#[tokio::test]
async fn a_transcode_runs_while_it_is_demanded() {
    let (hub, renditions) = (StreamHub::new(), Renditions::new());
    let metrics = Arc::new(CodecMetrics::default());
    let shutdown = CancellationToken::new();
    let supplier = tokio::spawn(supply(
        hub.clone(),
        renditions.clone(),
        Arc::clone(&metrics),
        true,
        shutdown.clone(),
    ));
    let running = async |wanted: i64| {
        let reached = async {
            while metrics.transcodes.get() != wanted {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let waited = tokio::time::timeout(Duration::from_secs(20), reached).await;
        assert!(
            waited.is_ok(),
            "{} run, not {wanted}",
            metrics.transcodes.get()
        );
    };
    // Demanded before the stream exists, and by two holders.
    let demands = [
        renditions.demand(&name(), RenditionKind::Video),
        renditions.demand(&name(), RenditionKind::Video),
    ];
    let publisher = hub.publish(&name());
    running(1).await;
    let sound = renditions.demand(&name(), RenditionKind::Audio);
    running(2).await;
    drop(sound);
    running(1).await;
    // It restarts with its stream.
    drop(publisher);
    running(0).await;
    let _publisher = hub.publish(&name());
    running(1).await;
    drop(demands);
    running(0).await;
    shutdown.cancel();
    supplier.await.expect("no panic");
}

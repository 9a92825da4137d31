//! Tests of the forms in which encoders send a picture, each compared byte for
//! byte with the output of the usual form.

use bytes::Bytes;

use watchtower_media::{AccessUnit, AudioCodec, MediaUnit, RandomAccess, VideoCodec};

use super::flv::{Demuxer, MediaError};

fn hex(text: &str) -> Bytes {
    hex::decode(text).unwrap().into()
}

/// x264's parameter sets for 640x360, Baseline, and for 1920x1080, High.
const SPS: &str = "6742c01ed900a02ff970110000030001000003003c0f162e48";
const PPS: &str = "68cb83cb20";
const HIGH_SPS: &str = "67640028acd940780227e5c044000003000400000300f03c60c658";
const HIGH_PPS: &str = "68ebe3cb";
/// The first slice of an IDR picture, and a further one; both refer to PPS 0.
const IDR: &[u8] = &[0x65, 0x88, 0x84, 0x11];
const IDR_REST: &[u8] = &[0x65, 0x02, 0xa2, 0x22];
const INTER: &[u8] = &[0x41, 0x9a, 0x33];
const INTER_REST: &[u8] = &[0x41, 0x03, 0x46];
/// Recovery point SEI, and a user data SEI message.
const RECOVERY: &[u8] = &[6, 6, 1, 0xc4, 0x80];
const SEI: &[u8] = &[6, 5, 1, 9, 0x80];
const DELIMITER: &[u8] = &[9, 0xf0];

const HEADER: [u8; 5] = [0x17, 0, 0, 0, 0];

fn framed(nals: &[&[u8]], size: usize) -> Vec<u8> {
    let mut data = Vec::new();
    for nal in nals {
        data.extend(&(nal.len() as u32).to_be_bytes()[4 - size..]);
        data.extend(*nal);
    }
    data
}

fn record(sps: &[&[u8]], pps: &[&[u8]]) -> Vec<u8> {
    let owned = |sets: &[&[u8]]| -> Vec<_> {
        let sets = sets.iter().copied();
        sets.map(Bytes::copy_from_slice).collect()
    };
    watchtower_media::codec::h264::record(&owned(sps), &owned(pps), 4).to_vec()
}

/// Publisher under test; its units come out in order.
#[derive(Default)]
struct TestPublisher {
    demuxer: Demuxer,
    time: u32,
}

impl TestPublisher {
    fn configured() -> Self {
        let mut publisher = Self::default();
        let record = record(&[&hex(SPS)], &[&hex(PPS)]);
        publisher.raw(&HEADER, &record).expect("valid");
        publisher
    }

    fn raw(&mut self, head: &[u8], body: &[u8]) -> Result<(), MediaError> {
        self.demuxer.video(self.time, &[head, body].concat().into())
    }

    /// Advances to the next picture's timestamp.
    fn step(&mut self) {
        self.time += 40;
    }

    fn tag(&mut self, key: bool, nals: &[&[u8]]) -> Result<(), MediaError> {
        let first = if key { 0x17 } else { 0x27 };
        self.raw(&[first, 1, 0, 0, 0], &framed(nals, 4))
    }

    fn units(&mut self) -> Vec<AccessUnit> {
        std::iter::from_fn(|| self.demuxer.next_unit())
            .map(|unit| match unit {
                MediaUnit::Video(unit) => unit,
                MediaUnit::Audio(_) => panic!("sent no sound"),
            })
            .collect()
    }

    fn all(&mut self) -> Vec<AccessUnit> {
        self.demuxer.flush().expect("decodable");
        self.units()
    }
}

fn payloads(units: &[AccessUnit]) -> Vec<(i64, bool, Vec<u8>)> {
    units
        .iter()
        .map(|unit| (unit.dts.ms(), unit.keyframe, unit.data.to_vec()))
        .collect()
}

#[test]
fn whole_pictures_are_handed_on_at_once() {
    let mut publisher = TestPublisher::configured();
    publisher.tag(true, &[IDR]).expect("valid");
    // Only the next tag shows that the picture is complete.
    assert!(publisher.units().is_empty());
    publisher.step();
    publisher.tag(false, &[INTER]).expect("valid");
    assert_eq!(publisher.units().len(), 2);
    for key in [false, true, false] {
        publisher.step();
        let nal = if key { IDR } else { INTER };
        publisher.tag(key, &[nal]).expect("valid");
        assert_eq!(publisher.units().len(), 1);
        assert!(!publisher.demuxer.holds());
    }
}

#[test]
fn a_picture_over_several_tags_is_one_unit() {
    let mut publisher = TestPublisher::configured();
    let (sps, pps) = (hex(SPS), hex(PPS));
    for picture in 0..4 {
        let nals: &[&[u8]] = match picture {
            0 => &[&sps, &pps, SEI, IDR, IDR_REST, IDR_REST],
            2 => &[DELIMITER, INTER, INTER_REST],
            _ => &[INTER, INTER_REST],
        };
        for nal in nals {
            publisher.tag(picture == 0, &[nal]).expect("valid");
        }
        publisher.step();
    }
    let expected = [
        (
            0,
            true,
            framed(&[&sps, &pps, SEI, IDR, IDR_REST, IDR_REST], 4),
        ),
        (40, false, framed(&[INTER, INTER_REST], 4)),
        (80, false, framed(&[DELIMITER, INTER, INTER_REST], 4)),
        (120, false, framed(&[INTER, INTER_REST], 4)),
    ];
    assert_eq!(payloads(&publisher.all()), expected);
}

#[test]
fn a_picture_in_parts_does_not_wait_for_ever() {
    let mut publisher = TestPublisher::configured();
    for nal in [IDR, IDR_REST] {
        publisher.tag(true, &[nal]).expect("valid");
    }
    let sound = Bytes::from_static(&[0xaf, 0, 0x12, 0x10]);
    for ms in (0..200).step_by(20) {
        publisher.demuxer.audio(ms, &sound).expect("valid");
        assert!(publisher.units().is_empty(), "{ms}");
    }
    publisher.demuxer.audio(200, &sound).expect("valid");
    let expected = [(0, true, framed(&[IDR, IDR_REST], 4))];
    assert_eq!(payloads(&publisher.units()), expected);
    let late = publisher.tag(true, &[IDR_REST]);
    assert_eq!(late, Err(MediaError::Headless));
}

#[test]
fn what_is_no_slice_leads_the_next_picture() {
    let mut publisher = TestPublisher::configured();
    publisher.tag(true, &[IDR]).expect("valid");
    for _ in 0..3 {
        publisher.step();
        publisher.tag(false, &[SEI]).expect("valid");
        publisher.step();
        publisher.tag(false, &[INTER]).expect("valid");
    }
    let units = publisher.units();
    let times: Vec<_> = units.iter().map(|unit| unit.dts.ms()).collect();
    assert_eq!(times, [0, 80, 160, 240]);
    for unit in &units[1..] {
        assert_eq!(unit.data, framed(&[SEI, INTER], 4));
    }
}

type Framed = Box<dyn Fn(&[&[u8]]) -> Vec<u8>>;

#[test]
fn start_codes_and_all_lengths_come_out_as_lengths() {
    let codes = |nals: &[&[u8]], code: &[u8]| -> Vec<u8> {
        nals.iter().flat_map(|nal| [code, *nal].concat()).collect()
    };
    let (sps, pps) = (hex(SPS), hex(PPS));
    let key: &[&[u8]] = &[DELIMITER, &sps, &pps, IDR];
    let sizes: Vec<Framed> = vec![
        Box::new(move |nals| codes(nals, &[0, 0, 0, 1])),
        Box::new(move |nals| codes(nals, &[0, 0, 1])),
        Box::new(|nals| framed(nals, 4)),
        Box::new(|nals| framed(nals, 2)),
        Box::new(|nals| framed(nals, 1)),
    ];
    let record = record(&[&sps], &[&pps]);
    let without = [1, 0x42, 0xc0, 0x1e, 0xff, 0xe0, 0];
    for (nth, shape) in sizes.iter().enumerate() {
        // The record declares a length size of four bytes.
        let headers: &[Option<&[u8]>] = match nth {
            0..=2 => &[None, Some(&[]), Some(&[1]), Some(&without), Some(&record)],
            _ => &[None, Some(&[]), Some(&[1])],
        };
        for header in headers {
            let mut publisher = TestPublisher::default();
            if let Some(header) = header {
                let _ = publisher.raw(&HEADER, header);
            }
            for (first, nals) in [(0x17, key), (0x27, &[INTER][..])] {
                let tag = publisher.raw(&[first, 1, 0, 0, 0], &shape(nals));
                assert_eq!(tag, Ok(()), "{nth} {header:?}");
                publisher.step();
            }
            let units = publisher.all();
            let size = usize::from(units[0].config.nal_length_size);
            let expected = [
                (0, true, framed(key, size)),
                (40, false, framed(&[INTER], size)),
            ];
            assert_eq!(payloads(&units), expected, "{nth} {header:?}");
            let config = &units[0].config;
            assert_eq!((config.width, config.height), (640, 360));
            assert_eq!(
                (&config.sps, &config.pps),
                (&vec![sps.clone()], &vec![pps.clone()])
            );
            assert_eq!(usize::from(config.record[4] & 3) + 1, size);
        }
    }
}

#[test]
fn a_picture_without_parameter_sets_is_an_error() {
    let mut publisher = TestPublisher::default();
    publisher.tag(true, &[IDR]).expect("held");
    publisher.step();
    let result = publisher.tag(false, &[INTER]);
    assert_eq!(result, Err(MediaError::NoVideoConfig));
    assert!(publisher.units().is_empty());
}

#[test]
fn sets_that_change_in_band_are_the_units_own() {
    let mut publisher = TestPublisher::configured();
    let (sps, pps) = (hex(HIGH_SPS), hex(HIGH_PPS));
    publisher.tag(true, &[IDR]).expect("valid");
    publisher.step();
    publisher.tag(true, &[&sps, &pps, IDR]).expect("valid");
    publisher.step();
    // The configuration stays for keyframes that don't repeat the sets.
    publisher.tag(true, &[IDR]).expect("valid");
    let units = publisher.units();
    let sizes: Vec<_> = units
        .iter()
        .map(|unit| (unit.config.width, unit.config.height))
        .collect();
    assert_eq!(sizes, [(640, 360), (1920, 1080), (1920, 1080)]);
    assert_eq!(units[2].config.sps, std::slice::from_ref(&sps));
    assert_eq!(units[2].config.record, record(&[&sps], &[&pps]));
}

#[test]
fn all_sets_of_the_record_are_kept_and_the_right_one_gives_the_size() {
    // The same with ids 1: `1` becomes `010`.
    let small = hex(SPS);
    let mut other = vec![0x67, 0x64, 0, 0x28];
    // 0xac is 1 0 1 0 1 1 0 0: the id, then the rest.
    other.extend(shifted(&hex(HIGH_SPS)[4..], 1));
    // A PPS of id 1 that refers to SPS 1.
    let second_pps = [0x68, 0b0100_1011, 0xcb];
    let record = record(&[&small, &other], &[&hex(PPS), &second_pps]);
    let mut publisher = TestPublisher::default();
    publisher.raw(&HEADER, &record).expect("valid");
    // A slice that refers to PPS 1: 1, 00110 (7), 010.
    let slice = [0x65, 0b1000_1000, 0b0100_0000, 0x11];
    for nal in [IDR, &slice] {
        publisher.tag(true, &[nal]).expect("valid");
        publisher.step();
    }
    let units = publisher.units();
    let units = [units, publisher.all()].concat();
    for unit in &units {
        assert_eq!((unit.config.sps.len(), unit.config.pps.len()), (2, 2));
        assert_eq!(unit.config.record, record);
    }
    assert_eq!(units[0].config.width, 640);
    assert_eq!(units[1].config.width, 1920);
}

/// SPS bits behind its level with id `1` in place of `0`, escaped again.
fn shifted(rest: &[u8], id: u32) -> Vec<u8> {
    let bits: String = watchtower_media::codec::bits::unescape(rest)
        .iter()
        .map(|byte| format!("{byte:08b}"))
        .collect();
    let code = format!("{:b}", id + 1);
    let bits = format!("0{code}{}", &bits[1..]);
    let mut bytes = Vec::new();
    for at in (0..bits.len()).step_by(8) {
        let byte = format!("{:0<8}", &bits[at..bits.len().min(at + 8)]);
        let byte = u8::from_str_radix(&byte, 2).expect("bits");
        if byte <= 3 && bytes.ends_with(&[0, 0]) {
            bytes.push(3);
        }
        bytes.push(byte);
    }
    bytes
}

#[test]
fn a_keyframe_is_marked_for_what_it_is() {
    use RandomAccess::{Instant, None, Recovery};
    let see = |tags: &[(bool, &[&[u8]])]| -> Vec<(bool, RandomAccess)> {
        let mut publisher = TestPublisher::configured();
        for (key, nals) in tags {
            publisher.tag(*key, nals).expect("valid");
            publisher.step();
        }
        let units = publisher.all();
        let seen = units
            .iter()
            .map(|unit| (unit.keyframe, unit.random_access()));
        seen.collect()
    };
    // An open GOP after an IDR picture; an unflagged IDR picture.
    let open = see(&[
        (true, &[IDR]),
        (true, &[RECOVERY, INTER]),
        (false, &[INTER]),
        (false, &[IDR]),
    ]);
    let expected = [
        (true, Instant),
        (false, Recovery),
        (false, None),
        (true, Instant),
    ];
    assert_eq!(open, expected);
    // No IDR picture at all: recovery points, flagged or not, or flags alone.
    let refresh = see(&[(false, &[RECOVERY, INTER]), (false, &[INTER])]);
    assert_eq!(refresh, [(true, Recovery), (false, None)]);
    let marked = see(&[(true, &[INTER]), (false, &[INTER]), (true, &[INTER])]);
    assert_eq!(marked, [(true, Recovery), (false, None), (true, Recovery)]);
}

#[test]
fn extra_tracks_and_modifiers_leave_the_default_track_alone() {
    let mut publisher = TestPublisher::default();
    let record = record(&[&hex(SPS)], &[&hex(PPS)]);
    let high = self::record(&[&hex(HIGH_SPS)], &[&hex(HIGH_PPS)]);
    publisher.raw(b"\x90avc1", &record).expect("valid");
    publisher.raw(b"\x96\x00avc1\x01", &high).expect("valid");
    publisher.raw(b"\x96\x00vp09\x02", b"any").expect("ignored");
    for (head, nal) in [(&b"\x91avc1\0\0\0"[..], IDR), (b"\xa3avc1", INTER)] {
        publisher.raw(head, &framed(&[nal], 4)).expect("valid");
        let extra = framed(&[IDR_REST], 4);
        publisher.raw(b"\x96\x03avc1\x01", &extra).expect("ignored");
        publisher.step();
    }
    // 900,000 ns of offset first.
    let moved = framed(&[INTER], 4);
    publisher
        .raw(b"\xa7\x02\x0d\xbb\xa0\x03avc1", &moved)
        .expect("valid");
    let units = publisher.all();
    let expected = [
        (0, true, framed(&[IDR], 4)),
        (40, false, framed(&[INTER], 4)),
        (80, false, framed(&[INTER], 4)),
    ];
    assert_eq!(payloads(&units), expected);
    assert_eq!(units[2].pts.0 - units[2].dts.0, 81);
    assert_eq!(units[0].config.width, 640);
}

#[test]
fn hevc_comes_by_its_old_codec_id_and_with_sets_in_band() {
    const SPS: &str =
        "420101016000000300900000030000030078a003c0801107cb965654a4c2f0168080000003008000000c84";
    let (vps, sps, pps) = (hex("40010c01"), hex(SPS), hex("4401c172"));
    let slice = [19 << 1, 1, 0b1010_0000];
    let rest = [19 << 1, 1, 0b0010_0000];
    let mut publisher = TestPublisher::default();
    for nal in [&vps[..], &sps, &pps, &slice, &rest] {
        let data = framed(&[nal], 4);
        publisher.raw(&[0x1c, 1, 0, 0, 0], &data).expect("valid");
    }
    let units = publisher.all();
    assert_eq!(units.len(), 1);
    assert_eq!(units[0].config.codec, VideoCodec::Hevc);
    assert_eq!(
        (units[0].config.width, units[0].config.height),
        (1920, 1080)
    );
    assert_eq!(units[0].data, framed(&[&vps, &sps, &pps, &slice, &rest], 4));
    assert_eq!(units[0].random_access(), RandomAccess::Instant);
}

#[test]
fn vp8_and_vp9_tell_keyframe_and_size_themselves() {
    /// Headers of a keyframe of 64x48 and of an inter frame, those of VP8 with a
    /// first partition of 0 bytes.
    const VP8: [&str; 2] = ["1000009d012a40003000", "11000000"];
    const VP9: [&str; 2] = ["824983420003f002f6", "860040929c184940"];
    for (fourcc, codec, [key, inter]) in [
        ("vp08", VideoCodec::Vp8, VP8),
        ("vp09", VideoCodec::Vp9, VP9),
    ] {
        let (key, inter) = (hex(key).to_vec(), hex(inter));
        let head = |first: u8| [&[first][..], fourcc.as_bytes()].concat();
        let mut publisher = TestPublisher::default();
        let early = publisher.raw(&head(0xa1), &inter).expect_err("no keyframe");
        let name = codec.as_str();
        assert_eq!(
            early.to_string(),
            format!("{name} frame without the keyframe it depends on")
        );
        // The record is not needed, nor is the flag: the first comes as an
        // inter frame.
        publisher.raw(&head(0x90), &[1, 0]).expect("skipped");
        publisher.raw(&head(0xa1), &key).expect("valid");
        publisher.step();
        publisher.raw(&head(0xa3), &inter).expect("valid");
        let units = publisher.all();
        let expected = [(0, true, key), (40, false, inter.to_vec())];
        assert_eq!(payloads(&units), expected, "{name}");
        let config = &units[1].config;
        assert_eq!((config.codec, config.width, config.height), (codec, 64, 48));
        assert_eq!(units[0].random_access(), RandomAccess::Instant);
        // Another codec begins anew.
        let other = if codec == VideoCodec::Vp8 {
            b"\xa1vp09"
        } else {
            b"\xa1vp08"
        };
        assert!(publisher.raw(other, &inter).is_err());
    }
}

#[test]
fn opus_is_passed_on_as_it_comes() {
    let mut demuxer = Demuxer::default();
    let mut send = |time, body: &[u8]| demuxer.audio(time, &Bytes::copy_from_slice(body));
    const HEAD: &[u8] = b"OpusHead\x01\x02\x38\x01\x80\xbb\0\0\0\0\0";
    // Packets describe themselves: the header may be missing.
    send(0, b"\x91Opus\xfc\xff\xfe").expect("valid");
    send(20, &[b"\x90Opus", HEAD].concat()).expect("valid");
    send(20, b"\x91Opus\xfc\x01").expect("valid");
    let mut surround = HEAD.to_vec();
    (surround[9], surround[18]) = (6, 1);
    let refused = send(40, &[b"\x90Opus", &surround[..]].concat()).expect_err("surround");
    assert_eq!(
        refused.to_string(),
        "Opus with 6 channels, mapping family 1, expected 1 or 2 of family 0"
    );
    let refused = send(40, b"\x91Opus\xff\x00").expect_err("no frames");
    assert_eq!(
        refused.to_string(),
        "Opus packet of 0 frames, expected 1 to 120 ms"
    );
    let mut units = Vec::new();
    while let Some(MediaUnit::Audio(unit)) = demuxer.next_unit() {
        assert_eq!(unit.codec, AudioCodec::Opus);
        units.push((unit.pts.ms(), unit.config.to_vec(), unit.data.to_vec()));
    }
    let expected = [
        (0, Vec::new(), vec![0xfc, 0xff, 0xfe]),
        (20, HEAD.to_vec(), vec![0xfc, 1]),
    ];
    assert_eq!(units, expected);
}

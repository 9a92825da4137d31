use proptest::prelude::*;

use super::*;
use crate::codec::config_record::tests::hex;

/// Beginnings of frames of 64x48 by libvpx, padded to a size as its own.
fn vp8_key() -> Vec<u8> {
    padded("1025009d012a4000300000470885858885848802", 1538)
}

fn vp8_inter() -> Vec<u8> {
    padded("310300051010001ecad5a2f506f397b4e1132b0b", 128)
}

fn vp9_key() -> Vec<u8> {
    padded("824983420003f002f60438241c18420003107cb1", 1192)
}

fn vp9_inter() -> Vec<u8> {
    padded("860040929c18494000030000007e0cb73acc41f8", 54)
}

fn padded(head: &str, size: usize) -> Vec<u8> {
    let mut frame = hex(head).to_vec();
    frame.resize(size, 0);
    frame
}

/// Bytes of fields, each a value and its number of bits.
fn fields(fields: &[(u32, u32)]) -> Vec<u8> {
    let mut bits = Vec::new();
    for (value, count) in fields {
        bits.extend((0..*count).rev().map(|nth| (value >> nth & 1) as u8));
    }
    bits.resize(bits.len().next_multiple_of(8), 0);
    let byte = |bits: &[u8]| bits.iter().fold(0, |sum, bit| sum << 1 | bit);
    bits.chunks(8).map(byte).collect()
}

/// VP9 inter frame that replaces the references of a mask, with a size of its
/// own or that of a reference.
fn vp9_sized(refreshes: u32, size: Result<(u32, u32), u32>) -> Vec<u8> {
    let mut frame = vec![(2, 2), (0, 2), (0, 1), (1, 1), (1, 1), (0, 1), (0, 2)];
    frame.push((refreshes, 8));
    let reference = size.err().unwrap_or(0);
    frame.extend([(reference, 3), (0, 1)].repeat(3));
    match size {
        Ok((width, height)) => frame.extend([(0, 3), (width - 1, 16), (height - 1, 16)]),
        Err(_) => frame.push((1, 1)),
    }
    fields(&frame)
}

/// Keyframe and size of a frame, or its fault.
fn read(reader: &mut VpxReader, frame: &[u8]) -> Result<(bool, u32, u32), BadFrame> {
    let at = MediaTime(0);
    let unit = reader.unit(at, at, Bytes::copy_from_slice(frame))?;
    assert_eq!(unit.config.codec, reader.codec());
    Ok((unit.keyframe, unit.config.width, unit.config.height))
}

#[test]
fn size_and_keyframe_are_read_off_the_frames() {
    for (mut reader, key, inter) in [
        (VpxReader::vp8(), vp8_key(), vp8_inter()),
        (VpxReader::vp9(), vp9_key(), vp9_inter()),
    ] {
        let name = reader.codec().as_str();
        assert_eq!(read(&mut reader, &inter), Err(BadFrame::NoKeyframe(name)));
        assert!(reader.needs_keyframe());
        assert_eq!(read(&mut reader, &key), Ok((true, 64, 48)));
        assert_eq!(read(&mut reader, &inter), Ok((false, 64, 48)));
        assert!(!reader.needs_keyframe());
        // A skipped frame loses nothing, a lost one does.
        assert_eq!(read(&mut reader, &[]), Err(BadFrame::Truncated(name)));
        assert_eq!(read(&mut reader, &inter), Ok((false, 64, 48)));
        reader.lost();
        assert_eq!(read(&mut reader, &inter), Err(BadFrame::NoKeyframe(name)));
    }
}

#[test]
fn vp8_scaling_hint_is_not_part_of_the_size() {
    let mut frame = vp8_key();
    frame[7] |= 0x40;
    frame[9] |= 0xc0;
    let read = read(&mut VpxReader::vp8(), &frame);
    assert_eq!(read, Ok((true, 64, 48)));
}

#[test]
fn vp9_changes_its_size_without_a_keyframe() {
    let mut reader = VpxReader::vp9();
    read(&mut reader, &vp9_key()).expect("valid");
    let smaller = vp9_sized(0b10, Ok((32, 24)));
    assert_eq!(read(&mut reader, &smaller), Ok((false, 32, 24)));
    let of_reference = |reader: &mut VpxReader, nth| read(reader, &vp9_sized(0, Err(nth)));
    assert_eq!(of_reference(&mut reader, 1), Ok((false, 32, 24)));
    assert_eq!(of_reference(&mut reader, 0), Ok((false, 64, 48)));
    // An existing frame is shown again.
    let existing = |nth| fields(&[(2, 2), (0, 2), (1, 1), (nth, 3)]);
    assert_eq!(read(&mut reader, &existing(1)), Ok((false, 32, 24)));
    assert_eq!(read(&mut reader, &existing(7)), Ok((false, 64, 48)));
    assert_eq!(read(&mut reader, &vp9_key()), Ok((true, 64, 48)));
    assert_eq!(of_reference(&mut reader, 1), Ok((false, 64, 48)));
}

fn superframe(frames: &[&[u8]]) -> Vec<u8> {
    let marker = 0xc8 | (frames.len() as u8 - 1);
    let mut data = frames.concat();
    data.push(marker);
    for frame in frames {
        data.extend((frame.len() as u16).to_le_bytes());
    }
    data.push(marker);
    data
}

#[test]
fn vp9_superframe_has_the_size_of_the_frame_shown() {
    let mut reader = VpxReader::vp9();
    let second = vp9_sized(0b1, Ok((128, 96)));
    let whole = superframe(&[&vp9_key(), &second]);
    assert_eq!(read(&mut reader, &whole), Ok((true, 128, 96)));
    let next = vp9_sized(0, Err(0));
    assert_eq!(read(&mut reader, &next), Ok((false, 128, 96)));
    // Only the index differs: a frame larger than what is there.
    let mut lying = whole.clone();
    let at = lying.len() - 3;
    lying[at] = 0xff;
    let fault = read(&mut reader, &lying).expect_err("cut short");
    let expected = BadFrame::Superframe {
        claimed: usize::from(lying[at]) | usize::from(lying[at + 1]) << 8,
        there: second.len(),
    };
    assert_eq!(fault, expected);
    assert!(reader.needs_keyframe());
}

#[test]
fn broken_frames_say_why_and_cost_the_pictures_up_to_a_keyframe() {
    let mut partition = vp8_key();
    partition.truncate(200);
    let mut version = vp8_key();
    version[0] |= 0x0e;
    let mut code = vp8_key();
    code[3] = 0;
    let mut flat = vp8_key();
    (flat[6], flat[7]) = (0, 0);
    let cases = [
        (
            partition,
            "first partition of 296 bytes in 190 bytes of a VP8 frame",
        ),
        (version, "VP8 version 7, expected 0 to 3"),
        (code, "a VP8 keyframe has no start code"),
        (flat, "VP8 picture of 0x48, expected sides of 1 to 16384"),
        (vp8_key()[..8].to_vec(), "a VP8 frame header is cut short"),
    ];
    for (frame, expected) in cases {
        let mut reader = VpxReader::vp8();
        read(&mut reader, &vp8_key()).expect("valid");
        let fault = read(&mut reader, &frame).expect_err("broken");
        assert_eq!(fault.to_string(), expected);
        let after = read(&mut reader, &vp8_inter());
        assert_eq!(after, Err(BadFrame::NoKeyframe("VP8")));
        assert_eq!(read(&mut reader, &vp8_key()), Ok((true, 64, 48)));
    }
    let cases: [(&[u8], &str); 4] = [
        (&[0x02, 0, 0], "VP9 frame without its frame marker"),
        (&[0xb8, 0, 0], "VP9 profile above 3, expected 0 to 3"),
        (&[0x82, 0x49, 0, 0], "a VP9 keyframe has no start code"),
        (&vp9_key()[..6], "a VP9 frame header is cut short"),
    ];
    for (frame, expected) in cases {
        let fault = read(&mut VpxReader::vp9(), frame).expect_err("broken");
        assert_eq!(fault.to_string(), expected);
    }
    let mut huge = vp9_key();
    huge[4..9].copy_from_slice(&fields(&[(0, 4), (59_999, 16), (59_999, 16), (0, 4)]));
    let fault = read(&mut VpxReader::vp9(), &huge).expect_err("too large");
    assert_eq!(
        fault.to_string(),
        "VP9 picture of 60000x60000, expected sides of 1 to 16384"
    );
}

proptest! {
    #[test]
    fn no_frames_panic_and_the_first_one_taken_is_a_keyframe(
        frames in prop::collection::vec(
            prop_oneof![
                prop::collection::vec(any::<u8>(), 0..40),
                (0..vp9_key().len(), any::<u8>()).prop_map(|(at, byte)| {
                    let mut frame = vp9_key();
                    frame[at] = byte;
                    frame
                }),
                (0..20_usize, any::<u8>()).prop_map(|(at, byte)| {
                    let mut frame = vp8_key();
                    frame[at] = byte;
                    frame
                }),
                Just(vp9_inter()),
                Just(vp8_inter()),
            ],
            0..20,
        ),
    ) {
        for mut reader in [VpxReader::vp8(), VpxReader::vp9()] {
            let mut begun = false;
            for frame in &frames {
                if let Ok((keyframe, width, height)) = read(&mut reader, frame) {
                    prop_assert!(keyframe || begun);
                    prop_assert!(is_size(width, height));
                    begun = true;
                }
            }
        }
    }
}

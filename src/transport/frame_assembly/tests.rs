use proptest::prelude::*;

use super::*;

fn packet(timestamp: u32, marker: bool, payload: &[u8]) -> Ordered {
    Ordered::Packet(RtpPacket {
        sequence: 0,
        timestamp,
        marker,
        payload: Bytes::copy_from_slice(payload),
    })
}

/// Frames of packets: their data, and `None` for missing ones.
fn frames(format: FrameFormat, packets: Vec<Ordered>) -> Vec<Option<Vec<u8>>> {
    let mut assembler = FrameAssembler::new(format);
    let pushed = packets.into_iter().flat_map(|one| assembler.push(one));
    let frames = pushed.flatten().map(|frame| match frame {
        AssembledFrame::Whole { data, .. } => Some(data.to_vec()),
        AssembledFrame::Missing => None,
    });
    frames.collect()
}

#[test]
fn vp8_frames_are_joined_whatever_their_descriptors() {
    let packets = vec![
        // X, I with 15 bits, L, T and K; start of the first partition.
        packet(1, false, &[0x90, 0xf0, 0x80, 1, 2, 3, b'a', b'b']),
        packet(1, false, &[0x80, 0x80, 7, b'c']),
        // Start of the second partition.
        packet(1, true, &[0x11, b'd']),
        packet(2, true, &[0x10, b'e']),
        packet(2, false, &[]),
        packet(3, true, &[0x10, b'f']),
    ];
    let expected = [&b"abcd"[..], b"e", b"f"].map(|one| Some(one.to_vec()));
    assert_eq!(frames(FrameFormat::Vp8, packets), expected);
}

#[test]
fn a_frame_with_a_loss_is_missing() {
    let packets = vec![
        packet(1, false, &[0x10, b'a']),
        Ordered::Gap,
        packet(1, true, &[0x00, b'c']),
        packet(2, true, &[0x10, b'd']),
        // Its beginning is missing without a gap, and a descriptor is cut off.
        packet(3, true, &[0x00, b'e']),
        packet(4, true, &[0x90, 0x80]),
        packet(5, true, &[0x10, b'f']),
    ];
    let d_and_f = [b'd', b'f'].map(|one| Some(vec![one]));
    let [d, f] = d_and_f;
    assert_eq!(
        frames(FrameFormat::Vp8, packets),
        [None, None, d, None, None, f]
    );
}

#[test]
fn vp9_frames_are_of_the_lowest_layer() {
    let packets = vec![
        // I, V and B: a structure of one layer with its size and two pictures.
        packet(
            1,
            false,
            &[0x8a, 5, 0x18, 0, 64, 0, 64, 2, 0x04, 1, 0x08, 1, 2, b'a'],
        ),
        // I, P, L, F and E, with two references.
        packet(1, true, &[0xf4, 0x85, 0, 0, 3, 2, b'b']),
        // Not flexible: L with TL0PICIDX. Spatial layer 1 is left out.
        packet(2, false, &[0x2c, 0, 9, b'c']),
        packet(2, true, &[0x2c, 2, 9, b'd']),
        packet(3, true, &[0x0c, b'e']),
    ];
    let expected = [&b"ab"[..], b"c", b"e"].map(|one| Some(one.to_vec()));
    assert_eq!(frames(FrameFormat::Vp9, packets), expected);
}

#[test]
fn av1_units_get_their_sizes_and_lose_delimiters() {
    let large = vec![b'x'; 200];
    let mut first = vec![0x60, 2, 0x10, 0x00, 0x30];
    first.extend(&large[..100]);
    let mut second = vec![0x90];
    second.extend(&large[100..]);
    let packets = vec![
        // Two elements: a delimiter, and a frame that goes on.
        packet(1, false, &first),
        packet(1, true, &second),
        // Sizes of all; an extension and a size of its own.
        packet(
            2,
            true,
            &[0x00, 3, 0x0c, 0x01, b'a', 4, 0x32, 2, b'b', b'c'],
        ),
    ];
    let mut whole = vec![0x32, 0xc8, 0x01];
    whole.extend(&large);
    let expected = [
        Some(whole),
        Some(vec![0x0e, 0x01, 1, b'a', 0x32, 2, b'b', b'c']),
    ];
    assert_eq!(frames(FrameFormat::Av1, packets), expected);
}

#[test]
fn av1_elements_that_contradict_themselves_are_missing() {
    for payload in [
        // A size beyond the packet, one without an end, and an unknown start.
        &[0x00, 9, 0x32][..],
        &[0x00, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
        &[0x90, 0x32],
        // Fewer elements than counted, and an extension that is cut off.
        &[0x30, 1, 0x30],
        &[0x10, 0x36],
        // A fragment that never goes on.
        &[0x50, 0x32, 1],
    ] {
        let packets = vec![packet(1, true, payload)];
        assert_eq!(frames(FrameFormat::Av1, packets), [None], "{payload:x?}");
    }
}

proptest! {
    #[test]
    fn no_payload_panics(
        payloads in prop::collection::vec((0_u32..3, any::<bool>(), prop::collection::vec(any::<u8>(), 0..40)), 0..40),
    ) {
        for format in [FrameFormat::Vp8, FrameFormat::Vp9, FrameFormat::Av1] {
            let packets = payloads.iter();
            let packets = packets.map(|(time, marker, payload)| packet(*time, *marker, payload));
            frames(format, packets.collect());
        }
    }
}

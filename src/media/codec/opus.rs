//! Packets of Opus (RFC 6716, section 3) and its identification header (RFC
//! 7845, section 5.1).

/// Samples in a millisecond of Opus' clock of 48 kHz.
const PER_MS: u32 = 48;
/// Maximum duration of a packet (section 3.4, requirement 5).
const LONGEST: u32 = 120 * PER_MS;
/// Maximum bytes of a frame (section 3.4, requirement 2).
const LONGEST_FRAME: usize = 1275;

/// Reason Opus is rejected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadOpus {
    #[error("an Opus packet is cut short")]
    Truncated,
    #[error("Opus packet of {0} frames, expected 1 to 120 ms")]
    Frames(u8),
    #[error("Opus packet of {bytes} bytes, expected at most {most} for {frames} frames")]
    Size {
        bytes: usize,
        most: usize,
        frames: u8,
    },
    #[error("the Opus identification header is cut short or of another version")]
    Head,
    #[error("Opus with {channels} channels, mapping family {family}, expected 1 or 2 of family 0")]
    Channels { channels: u8, family: u8 },
}

/// Duration of a packet in samples at 48 kHz, by its table of contents (section
/// 3.1).
pub fn duration(packet: &[u8]) -> Result<u32, BadOpus> {
    let (toc, rest) = packet.split_first().ok_or(BadOpus::Truncated)?;
    let config = toc >> 3;
    let frame = match config {
        // SILK, hybrid, CELT.
        0..=11 => [10, 20, 40, 60][usize::from(config & 3)] * PER_MS,
        12..=15 => [10, 20][usize::from(config & 1)] * PER_MS,
        _ => (5 * PER_MS / 2) << (config & 3),
    };
    let frames = match toc & 3 {
        0 => 1,
        1 | 2 => 2,
        _ => rest.first().ok_or(BadOpus::Truncated)? & 0x3f,
    };
    let samples = frame * u32::from(frames);
    if frames == 0 || samples > LONGEST {
        return Err(BadOpus::Frames(frames));
    }
    // Lengths of the frames, and padding, which no publisher needs, come on top.
    let most = usize::from(frames) * (LONGEST_FRAME + 2) + 2;
    if packet.len() > most {
        return Err(BadOpus::Size {
            bytes: packet.len(),
            most,
            frames,
        });
    }
    Ok(samples)
}

/// Checks an identification header: mono or stereo, as RTP carries it (RFC
/// 7587).
pub fn check_head(head: &[u8]) -> Result<(), BadOpus> {
    let (magic, fields) = head.split_first_chunk::<8>().ok_or(BadOpus::Head)?;
    let &[version, channels, _, _, _, _, _, _, _, _, family, ..] = fields else {
        return Err(BadOpus::Head);
    };
    if magic != b"OpusHead" || version & 0xf0 != 0 {
        return Err(BadOpus::Head);
    }
    match (channels, family) {
        (1 | 2, 0) => Ok(()),
        (channels, family) => Err(BadOpus::Channels { channels, family }),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn durations_are_those_of_the_table_of_contents() {
        // RFC 6716, table 2: configuration, then the ms of one frame.
        let frames = [
            (0, 10),
            (3, 60),
            (11, 60),
            (12, 10),
            (15, 20),
            (19, 20),
            (31, 20),
        ];
        for (config, ms) in frames {
            assert_eq!(duration(&[config << 3, 7]), Ok(ms * 48), "{config}");
        }
        assert_eq!(duration(&[16 << 3, 7]), Ok(120));
        assert_eq!(duration(&[31 << 3 | 1, 7, 7]), Ok(40 * 48));
        assert_eq!(duration(&[31 << 3 | 3, 0x46, 7]), Ok(120 * 48));
    }

    #[test]
    fn broken_packets_are_named() {
        assert_eq!(duration(&[]), Err(BadOpus::Truncated));
        assert_eq!(duration(&[3]), Err(BadOpus::Truncated));
        assert_eq!(duration(&[3, 0]), Err(BadOpus::Frames(0)));
        assert_eq!(duration(&[31 << 3 | 3, 7]), Err(BadOpus::Frames(7)));
        let error = duration(&[0; 3000]).expect_err("too long");
        assert_eq!(
            error.to_string(),
            "Opus packet of 3000 bytes, expected at most 1279 for 1 frames"
        );
    }

    #[test]
    fn head_is_mono_or_stereo() {
        let head = |channels, family| {
            let mut head = b"OpusHead\x01".to_vec();
            head.extend([channels, 0x38, 1, 0x80, 0xbb, 0, 0, 0, 0, family]);
            head
        };
        assert_eq!(check_head(&head(2, 0)), Ok(()));
        assert_eq!(check_head(&head(1, 0)), Ok(()));
        let error = check_head(&head(6, 1)).expect_err("surround");
        assert_eq!(
            error.to_string(),
            "Opus with 6 channels, mapping family 1, expected 1 or 2 of family 0"
        );
        assert_eq!(check_head(&head(2, 0)[..18]), Err(BadOpus::Head));
        assert_eq!(check_head(b"OpusTags\x01\x02........"), Err(BadOpus::Head));
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            if let Ok(samples) = duration(&bytes) {
                prop_assert!((120..=5760).contains(&samples));
            }
            let _ = check_head(&bytes);
        }
    }
}

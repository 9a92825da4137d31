//! Aggregate messages (RTMP 1.0, section 7.1.6): FLV tags back to back.

use bytes::Bytes;

use super::chunk::Message;

/// Iterator over the parts; ends at the first truncated one.
#[derive(Debug)]
pub(super) struct Aggregate {
    rest: Bytes,
    timestamp: u32,
    stream_id: u32,
    /// Timestamp of the first part, to which the others are relative.
    first: Option<u32>,
}

impl Aggregate {
    pub(super) fn new(message: &Message) -> Self {
        Self {
            rest: message.payload.clone(),
            timestamp: message.timestamp,
            stream_id: message.stream_id,
            first: None,
        }
    }

    pub(super) fn next(&mut self) -> Option<Message> {
        let head = self.rest.get(..11)?;
        let kind = head[0] & 0x1f;
        let size = usize::from(head[1]) << 16 | usize::from(head[2]) << 8 | usize::from(head[3]);
        // 24 low bits, then the 8 high ones.
        let time = u32::from_be_bytes([head[7], head[4], head[5], head[6]]);
        if self.rest.len() < 11 + size {
            return None;
        }
        let mut part = self.rest.split_to(11 + size);
        let payload = part.split_off(11);
        // PreviousTagSize, which players use to seek backwards.
        let _ = self.rest.split_to(self.rest.len().min(4));
        let first = *self.first.get_or_insert(time);
        Some(Message {
            timestamp: self.timestamp.wrapping_add(time.wrapping_sub(first)),
            kind,
            stream_id: self.stream_id,
            payload,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tag(kind: u8, time: u32, payload: &[u8]) -> Vec<u8> {
        let mut tag = vec![kind];
        tag.extend(&(payload.len() as u32).to_be_bytes()[1..]);
        tag.extend(&time.to_be_bytes()[1..]);
        tag.push(time.to_be_bytes()[0]);
        tag.extend([0, 0, 0]);
        tag.extend(payload);
        tag.extend((11 + payload.len() as u32).to_be_bytes());
        tag
    }

    fn parts(payload: Vec<u8>) -> Vec<(u8, u32, Bytes)> {
        let mut aggregate = Aggregate::new(&Message {
            timestamp: 500,
            kind: 22,
            stream_id: 1,
            payload: payload.into(),
        });
        std::iter::from_fn(|| aggregate.next())
            .map(|part| (part.kind, part.timestamp, part.payload))
            .collect()
    }

    #[test]
    fn parts_come_out_with_their_times() {
        let mut payload = tag(9, 0x0100_0000, b"video");
        payload.extend(tag(8, 0x0100_0010, b""));
        let whole = parts(payload.clone());
        let video = (9, 500, Bytes::from_static(b"video"));
        assert_eq!(whole, [video.clone(), (8, 516, Bytes::new())]);
        payload.truncate(payload.len() - 5);
        assert_eq!(parts(payload), [video]);
    }
}

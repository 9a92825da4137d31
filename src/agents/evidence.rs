//! The picture that is kept as proof, secrets on it blackened as far as they
//! are known: by the text that was read off it, and by what a model quoted.

use crate::finding::Observation;
use crate::masking::mask_secrets;
use crate::media::{EncodeError, Frame, Rect, Still};

/// Letters reach over the box that was found around them.
const MARGIN: u32 = 3;

/// Takes a few hundredths of a second: off the async workers.
pub(super) fn still(frame: &Frame, observation: &Observation) -> Result<Still, EncodeError> {
    let secrets = secrets(frame, observation);
    if secrets.is_empty() {
        return frame.still();
    }
    frame.still_without(&secrets)
}

fn secrets(frame: &Frame, observation: &Observation) -> Vec<Rect> {
    let mut found = Vec::new();
    // The lines of a private key say nothing each by itself.
    let mut in_key = false;
    for line in frame.text.iter().flat_map(|lines| lines.iter()) {
        let marks_key = line.text.contains("PRIVATE KEY");
        let begins = marks_key && line.text.contains("BEGIN");
        if (in_key && !marks_key) || is_secret(&line.text) {
            found.push(grown(line.rect));
        }
        in_key = begins || (in_key && !marks_key);
    }
    let (width, height) = (frame.picture.width, frame.picture.height);
    for evidence in &observation.evidence {
        if let Some([top, left, bottom, right]) = evidence.bounds
            && is_secret(&evidence.quote)
        {
            let at = |thousandths: u16, side: u32| u32::from(thousandths) * side / 1000;
            let (x, y) = (at(left, width), at(top, height));
            found.push(grown(Rect {
                x,
                y,
                width: at(right, width).saturating_sub(x),
                height: at(bottom, height).saturating_sub(y),
            }));
        }
    }
    found
}

fn is_secret(text: &str) -> bool {
    mask_secrets(text) != text
}

fn grown(rect: Rect) -> Rect {
    Rect {
        x: rect.x.saturating_sub(MARGIN),
        y: rect.y.saturating_sub(MARGIN),
        width: rect.width + 2 * MARGIN,
        height: rect.height + 2 * MARGIN,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bytes::Bytes;
    use jiff::Timestamp;

    use super::*;
    use crate::finding::{Category, Evidence, Severity};
    use crate::media::{MediaTime, Picture, StreamName, TextLine};

    /// The luma as it is, so that a test can look at it.
    fn luma(picture: &Picture) -> Result<Bytes, EncodeError> {
        Ok(Bytes::from(picture.y.clone()))
    }

    fn frame(lines: &[(&str, u32)]) -> Frame {
        let picture = Picture {
            width: 200,
            height: 100,
            y: vec![200; 200 * 100],
            u: vec![90; 100 * 50],
            v: vec![90; 100 * 50],
        };
        let name = StreamName::new("team").unwrap();
        let frame = Frame::new(
            name,
            1,
            MediaTime(0),
            Timestamp::now(),
            Arc::new(picture),
            luma,
        );
        let line = |(text, y): &(&str, u32)| TextLine {
            text: (*text).to_owned(),
            rect: Rect {
                x: 20,
                y: *y,
                width: 100,
                height: 10,
            },
            confidence: 1.0,
        };
        frame.with_text(lines.iter().map(line).collect())
    }

    fn observation(quote: &str, bounds: Option<[u16; 4]>) -> Observation {
        Observation {
            severity: Severity::High,
            confidence: 0.9,
            category: Category::Other,
            title: "t".to_owned(),
            detail: String::new(),
            evidence: vec![Evidence {
                quote: quote.to_owned(),
                bounds,
                grounded: None,
            }],
            mitre: vec![],
            recommended_action: String::new(),
        }
    }

    fn dark_rows(still: &Still) -> Vec<usize> {
        (0..100).filter(|y| still.jpeg[y * 200 + 50] == 0).collect()
    }

    #[test]
    fn a_secret_line_is_black_and_the_others_stay() {
        let frame = frame(&[("all is well", 10), ("password=hunter2-hunter2", 50)]);
        let kept = still(&frame, &observation("all is well", None)).unwrap();
        assert_eq!(dark_rows(&kept), (47..63).collect::<Vec<_>>());
        assert_ne!(kept.sha256, frame.still().unwrap().sha256);
        assert_eq!(kept.jpeg[50 * 200 + 5], 200, "beside the line");
    }

    #[test]
    fn a_private_key_is_black_from_its_head_to_its_end() {
        let lines = [
            ("-----BEGIN PRIVATE KEY-----", 10),
            ("MIIEvQIBADANBgkqhkiG9w0BAQEFAASC", 30),
            ("-----END PRIVATE KEY-----", 50),
            ("$ ls", 70),
        ];
        let kept = still(&frame(&lines), &observation("x", None)).unwrap();
        assert!(dark_rows(&kept).contains(&35));
        assert!(!dark_rows(&kept).contains(&75));
    }

    #[test]
    fn what_a_model_quoted_counts_where_nobody_read() {
        let frame = frame(&[]);
        let quoted = observation("password=hunter2-hunter2", Some([500, 100, 600, 900]));
        let kept = still(&frame, &quoted).unwrap();
        assert_eq!(dark_rows(&kept), (47..63).collect::<Vec<_>>());
    }

    #[test]
    fn without_secrets_it_is_the_picture_itself() {
        let frame = frame(&[("all is well", 10)]);
        let kept = still(&frame, &observation("all is well", None)).unwrap();
        assert_eq!(kept.sha256, frame.still().unwrap().sha256);
    }
}

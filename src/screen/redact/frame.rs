//! Redacted frames: the only pictures that models, evidence, stills and
//! previews accept.

use std::ops::Deref;
use std::sync::Arc;

use bytes::Bytes;
use sha2::{Digest as _, Sha256};

use super::Redact;
use crate::frame::{Frame, named};
use crate::layout::Layout;
use crate::picture::{EncodeError, Rect};

/// Frame with its secrets black in the picture and replaced by their kind in
/// the text. Cheap to clone; read like a [`Frame`].
///
/// Constructed only here, from a frame and the policy's redaction level:
///
/// ```
/// use std::sync::Arc;
///
/// use bytes::Bytes;
/// use jiff::Timestamp;
/// use watchtower_base::stream_name::StreamName;
/// use watchtower_media::MediaTime;
/// use watchtower_screen::frame::Frame;
/// use watchtower_screen::picture::Picture;
/// use watchtower_screen::redact::{Redact, RedactedFrame, RedactedJpeg, RedactionOff};
///
/// let picture = Picture {
///     width: 2,
///     height: 2,
///     y: vec![200; 4],
///     u: vec![128],
///     v: vec![128],
/// };
/// let frame = Arc::new(Frame::new(
///     StreamName::new("team").expect("valid"),
///     1,
///     MediaTime(0),
///     Timestamp::UNIX_EPOCH,
///     Arc::new(picture),
///     |_| Ok(Bytes::new()),
/// ));
/// assert!(RedactedFrame::of(&frame, Redact::Secrets).is_none(), "unread");
/// let off = RedactionOff::by(Redact::Off).expect("off");
/// let as_it_is = RedactedFrame::without_redaction(&frame, off);
/// assert_eq!(as_it_is.picture, frame.picture);
/// let still: RedactedJpeg = as_it_is.still().expect("encoded");
/// assert!(still.bytes().is_empty());
/// ```
///
/// No other code can construct one,
///
/// ```compile_fail,E0451
/// # use std::sync::Arc;
/// # use watchtower_screen::frame::Frame;
/// # use watchtower_screen::redact::RedactedFrame;
/// fn leak(frame: Arc<Frame>) -> RedactedFrame {
///     RedactedFrame { frame }
/// }
/// ```
///
/// pass a raw frame for a redacted one,
///
/// ```compile_fail,E0308
/// # use watchtower_screen::frame::Frame;
/// # use watchtower_screen::redact::RedactedFrame;
/// fn leak(frame: &Frame, look: fn(&RedactedFrame)) {
///     look(frame);
/// }
/// ```
///
/// or make a still of a raw frame.
///
/// ```compile_fail,E0599
/// # use watchtower_screen::frame::Frame;
/// # use watchtower_screen::redact::RedactedJpeg;
/// fn leak(frame: &Frame) -> Option<RedactedJpeg> {
///     frame.still().ok()
/// }
/// ```
#[derive(Debug, Clone)]
pub struct RedactedFrame {
    frame: Arc<Frame>,
}

/// Proof that the policy turns redaction off, required by
/// [`RedactedFrame::without_redaction`].
#[derive(Debug, Clone, Copy)]
pub struct RedactionOff(());

impl RedactionOff {
    /// Returns `None` if that level redacts anything.
    pub fn by(redact: Redact) -> Option<Self> {
        (redact == Redact::Off).then_some(Self(()))
    }
}

impl RedactedFrame {
    /// Redacts a frame at that level; returns it unchanged if redaction is off.
    /// `None` if OCR has not read it, as its secrets are then unknown. Computed
    /// once per frame and shared.
    pub fn of(frame: &Arc<Frame>, redact: Redact) -> Option<Self> {
        let at = match redact {
            Redact::Off => return Some(Self::without_redaction(frame, RedactionOff(()))),
            Redact::Secrets => 0,
            Redact::SecretsAndPersonal => 1,
        };
        let text = frame.text.as_ref()?;
        let redacted = frame.redacted[at].get_or_init(|| {
            let secrets: Vec<_> = frame.hidden(redact).collect();
            if secrets.is_empty() {
                return None;
            }
            let rects: Vec<_> = secrets.iter().map(|secret| secret.rect).collect();
            let picture = frame.picture.without(&rects);
            Some(Self::new(
                frame.showing(picture, Some(named(text, &secrets))),
            ))
        });
        // Without secrets it is the frame itself; caching that inside the frame
        // would be a reference cycle.
        let itself = || Self {
            frame: Arc::clone(frame),
        };
        Some(redacted.clone().unwrap_or_else(itself))
    }

    /// Redacts a frame as [`Self::of`] does, or blackens it if OCR has not read
    /// it.
    pub fn or_masked(frame: &Arc<Frame>, redact: Redact) -> Self {
        Self::of(frame, redact).unwrap_or_else(|| Self::masked(frame))
    }

    /// Frame all black and without text, like the unread parts of one, for when
    /// a picture is needed that OCR has not read. Copies the picture.
    pub fn masked(frame: &Frame) -> Self {
        let whole = Rect {
            x: 0,
            y: 0,
            width: frame.picture.width,
            height: frame.picture.height,
        };
        Self::new(frame.showing(frame.picture.without(&[whole]), None))
    }

    /// Frame without redaction, secrets included.
    pub fn without_redaction(frame: &Arc<Frame>, _: RedactionOff) -> Self {
        Self {
            frame: Arc::clone(frame),
        }
    }

    /// Structure of its redacted text and picture, computed on the first call
    /// and shared; without elements if OCR has not read it.
    pub fn layout(&self) -> &Layout {
        let frame = &self.frame;
        let text = frame.text.as_deref().unwrap_or_default();
        (frame.layout).get_or_init(|| Layout::of(text, &frame.picture))
    }

    fn new(frame: Frame) -> Self {
        Self {
            frame: Arc::new(frame),
        }
    }

    /// Same frame at half the size, for models with a smaller input. It has its
    /// own still and no text, as the text was read from the full size.
    pub fn halved(&self) -> Self {
        Self::new(self.frame.showing(self.picture.halved(), None))
    }

    /// Part of it, from an even column and row; otherwise like
    /// [`Self::halved`].
    pub fn cropped(&self, part: Rect) -> Self {
        Self::new(self.frame.showing(self.picture.crop(part), None))
    }

    /// Frame scaled to twice the width and height; otherwise like
    /// [`Self::halved`].
    pub fn doubled(&self) -> Self {
        Self::new(self.frame.showing(self.picture.doubled(), None))
    }

    /// JPEG at native resolution, encoded on the first call. Takes about 15 ms
    /// of CPU at 1080p: do not call it on the async workers.
    pub fn still(&self) -> Result<RedactedJpeg, EncodeError> {
        let frame = &self.frame;
        let make = || (frame.encode)(&frame.picture).map(RedactedJpeg::of);
        frame.still.get_or_init(make).clone()
    }
}

// A redacted frame may be used wherever a raw one may, never the reverse.
impl Deref for RedactedFrame {
    type Target = Frame;

    fn deref(&self) -> &Frame {
        &self.frame
    }
}

/// JPEG of a [`RedactedFrame`] or of a part of one, with its hash. Made by
/// [`RedactedFrame::still`] only:
///
/// ```compile_fail,E0451
/// # use bytes::Bytes;
/// # use watchtower_screen::redact::RedactedJpeg;
/// fn leak(jpeg: Bytes) -> RedactedJpeg {
///     RedactedJpeg {
///         jpeg,
///         sha256: String::new(),
///     }
/// }
/// ```
#[derive(Debug, Clone)]
pub struct RedactedJpeg {
    jpeg: Bytes,
    sha256: String,
}

impl RedactedJpeg {
    fn of(jpeg: Bytes) -> Self {
        Self {
            sha256: hex::encode(Sha256::digest(&jpeg)),
            jpeg,
        }
    }

    /// Complete JPEG file.
    pub fn bytes(&self) -> &Bytes {
        &self.jpeg
    }

    /// SHA-256 of [`Self::bytes`], in lower-case hexadecimal.
    pub fn sha256(&self) -> &str {
        &self.sha256
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::frame::SensitiveText;
    use crate::picture::{EncodeJpeg, Picture, TextLine};
    use watchtower_base::stream_name::StreamName;
    use watchtower_media::MediaTime;

    fn frame(encode: EncodeJpeg) -> Frame {
        let picture = Picture {
            width: 40,
            height: 20,
            y: vec![200; 40 * 20],
            u: vec![90; 20 * 10],
            v: vec![90; 20 * 10],
        };
        Frame::new(
            StreamName::new("team").expect("valid"),
            1,
            MediaTime(0),
            Timestamp::UNIX_EPOCH,
            Arc::new(picture),
            encode,
        )
    }

    fn luma(picture: &Picture) -> Result<Bytes, EncodeError> {
        Ok(Bytes::from(picture.y.clone()))
    }

    #[test]
    fn a_still_is_encoded_once_and_shared_with_the_read_frame() {
        use std::sync::atomic::{AtomicUsize, Ordering};
        static CALLS: AtomicUsize = AtomicUsize::new(0);
        fn encode(_: &Picture) -> Result<Bytes, EncodeError> {
            CALLS.fetch_add(1, Ordering::Relaxed);
            Ok(Bytes::from_static(b"abc"))
        }
        let frame = Arc::new(frame(encode));
        let read = Arc::new(frame.read(Arc::from([]), Arc::from([])));
        let still = |frame: &Arc<Frame>, redact| {
            let redacted = RedactedFrame::of(frame, redact).expect("read, or off");
            redacted.still().expect("encoded")
        };
        assert_eq!(CALLS.load(Ordering::Relaxed), 0);
        assert_eq!(
            still(&read, Redact::Off).sha256(),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
        assert_eq!(still(&frame, Redact::Off).bytes(), "abc");
        assert_eq!(still(&read, Redact::Secrets).bytes(), "abc");
        assert_eq!(CALLS.load(Ordering::Relaxed), 1, "nothing to hide");
    }

    #[test]
    fn a_frame_with_nothing_to_hide_goes_when_nobody_holds_it() {
        let frame = Arc::new(frame(luma).read(Arc::from([]), Arc::from([])));
        let picture = Arc::downgrade(&frame.picture);
        for redact in [Redact::Secrets, Redact::SecretsAndPersonal] {
            assert!(RedactedFrame::of(&frame, redact).is_some());
        }
        drop(frame);
        assert!(picture.upgrade().is_none(), "kept by itself");
    }

    #[test]
    fn a_masked_frame_shows_nothing() {
        let line = TextLine {
            text: "hunter2".to_owned(),
            rect: Rect {
                x: 0,
                y: 0,
                width: 9,
                height: 9,
            },
            confidence: 1.0,
        };
        let read = frame(luma).read(Arc::from([line]), Arc::from([]));
        let masked = RedactedFrame::masked(&read);
        let picture = &masked.picture;
        assert_eq!((picture.width, picture.height, masked.seq), (40, 20, 1));
        assert!(picture.y.iter().all(|sample| *sample == 0));
        let mut chroma = picture.u.iter().chain(&picture.v);
        assert!(chroma.all(|sample| *sample == 128));
        assert_eq!(masked.text, None);
    }

    #[test]
    fn an_unread_frame_is_masked_unless_redaction_is_off() {
        let unread = Arc::new(frame(luma));
        let sample =
            |frame: &Arc<Frame>, redact| RedactedFrame::or_masked(frame, redact).picture.y[0];
        assert_eq!(sample(&unread, Redact::Secrets), 0);
        assert_eq!(sample(&unread, Redact::SecretsAndPersonal), 0);
        assert_eq!(sample(&unread, Redact::Off), 200);
        let read = Arc::new(unread.read(Arc::from([]), Arc::from([])));
        assert_eq!(sample(&read, Redact::Secrets), 200);
    }

    #[test]
    fn only_the_level_off_turns_redaction_off() {
        assert!(RedactionOff::by(Redact::Off).is_some());
        assert!(RedactionOff::by(Redact::Secrets).is_none());
        assert!(RedactionOff::by(Redact::SecretsAndPersonal).is_none());
    }

    #[test]
    fn what_is_made_of_a_redacted_frame_has_a_still_of_its_own() {
        let whole = RedactedFrame::of(&Arc::new(frame(luma)), Redact::Off).expect("off");
        let part = Rect {
            x: 10,
            y: 10,
            width: 8,
            height: 4,
        };
        let cropped = whole.cropped(part);
        let size = |frame: &RedactedFrame| (frame.picture.width, frame.picture.height);
        assert_eq!(size(&whole.halved()), (20, 10));
        assert_eq!(size(&cropped), (8, 4));
        assert_eq!(size(&cropped.doubled()), (16, 8));
        let bytes = |frame: &RedactedFrame| frame.still().expect("encoded").bytes().len();
        assert_eq!((bytes(&whole), bytes(&cropped)), (800, 32));
    }

    #[test]
    fn nothing_leaves_unread_and_secrets_never() {
        let raw = Arc::new(frame(luma));
        assert!(RedactedFrame::of(&raw, Redact::Secrets).is_none());
        assert!(RedactedFrame::of(&raw, Redact::Off).is_some());
        let rect = Rect {
            x: 8,
            y: 4,
            width: 10,
            height: 6,
        };
        let line = TextLine {
            text: "key=hunter2 of jo@example.com".to_owned(),
            rect,
            confidence: 1.0,
        };
        let secret = |range, kind: &str, personal| SensitiveText {
            line: 0,
            range,
            rect,
            kind: kind.to_owned(),
            personal,
        };
        let secrets = [
            secret(4..11, "password", false),
            secret(15..29, "e-mail address", true),
        ];
        let read = Arc::new(raw.read(Arc::from([line]), Arc::from(secrets)));
        let cleared = RedactedFrame::of(&read, Redact::Secrets).expect("read");
        let text = |frame: &Frame| frame.text.as_ref().expect("read")[0].text.clone();
        assert_eq!(text(&cleared), "key=[masked password] of jo@example.com");
        assert_eq!(cleared.picture.y[5 * 40 + 9], 0);
        assert_eq!(cleared.picture.y[5 * 40 + 20], 200);
        let again = RedactedFrame::of(&read, Redact::Secrets).expect("read");
        assert!(
            Arc::ptr_eq(&cleared.picture, &again.picture),
            "painted once"
        );
        let all = RedactedFrame::of(&read, Redact::SecretsAndPersonal).expect("read");
        assert_eq!(
            text(&all),
            "key=[masked password] of [masked e-mail address]"
        );
    }
}

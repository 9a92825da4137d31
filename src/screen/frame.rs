//! Picture of a stream, its capture time and what is known about it.

use std::ops::Range;
use std::sync::{Arc, OnceLock};

use jiff::Timestamp;

use super::picture::{EncodeError, EncodeJpeg, Picture, Rect, Still, TextLine};
use crate::base::stream_name::StreamName;
use crate::media::MediaTime;
use crate::screen::changed_regions::Changes;
use crate::screen::redact::{OwnPatterns, Redact, secrets_on};

/// A picture the analysts may look at.
///
/// Once its text was read ([`Frame::read`]) it knows where secrets stand on
/// it. Whatever leaves the house leaves as [`Frame::cleared`].
#[derive(Debug, Clone)]
pub struct Frame {
    pub stream: StreamName,
    /// Counts the frames of this stream since the server started; a
    /// publisher's return does not reset it.
    pub seq: u64,
    /// `seq` of the frame that began this generation: it moves when the change
    /// gate saw the pixels really change.
    pub generation: u64,
    /// Generation that began this scene. The reader lets it move when what can
    /// be read or seen from afar has changed, so that an unchanged screen need
    /// not be looked at again; the generation itself until it was read.
    pub scene: u64,
    /// Scenes that this stream has shown by now, while it has been live; 0
    /// where nobody reads it.
    pub told: u64,
    pub pts: MediaTime,
    /// When the coded picture came in.
    pub captured_at: Timestamp,
    pub picture: Arc<Picture>,
    pub changes: Arc<Changes>,
    /// The text on the picture in reading order; `None` until it was read.
    pub text: Option<Arc<[TextLine]>>,
    secrets: Arc<[Secret]>,
    /// User-defined patterns in force when the secrets were looked for.
    own: OwnPatterns,
    encode: EncodeJpeg,
    still: Arc<OnceLock<Result<Still, EncodeError>>>,
    /// Without secrets, and without personal data too.
    cleared: Arc<[OnceLock<Option<Arc<Frame>>>; 2]>,
}

/// A piece of text that must not leave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Secret {
    /// Index of its line in [`Frame::text`]; past the end where nobody has read
    /// what stands there.
    pub line: usize,
    /// Its bytes of that line's text.
    pub range: Range<usize>,
    /// Area painted over to hide it.
    pub rect: Rect,
    /// For instance `AWS access key`.
    pub kind: String,
    /// Personal data, which only counts where that is asked for.
    pub personal: bool,
}

impl Frame {
    pub fn new(
        stream: StreamName,
        seq: u64,
        pts: MediaTime,
        captured_at: Timestamp,
        picture: Arc<Picture>,
        encode: EncodeJpeg,
    ) -> Self {
        Self {
            stream,
            seq,
            generation: seq,
            scene: seq,
            told: 0,
            pts,
            captured_at,
            picture,
            changes: Arc::new(Changes::all(seq, captured_at)),
            text: None,
            secrets: Arc::from([]),
            own: OwnPatterns::default(),
            encode,
            still: Arc::default(),
            cleared: Arc::default(),
        }
    }

    /// The same frame, now with its text and what of it must not leave.
    /// Picture and still stay shared.
    pub fn read(&self, text: Arc<[TextLine]>, secrets: Arc<[Secret]>) -> Self {
        Self {
            text: Some(text),
            secrets,
            cleared: Arc::default(),
            ..self.clone()
        }
    }

    /// The same frame, with its secrets looked for by its own text alone and
    /// with these patterns: in force is what holds when it leaves, not what
    /// held when it was read. Costs a few milliseconds where they differ.
    pub fn hiding(self: &Arc<Self>, own: &OwnPatterns) -> Arc<Self> {
        let Some(text) = self.text.as_ref().filter(|_| self.own != *own) else {
            return Arc::clone(self);
        };
        let size = (self.picture.width, self.picture.height);
        let secrets = secrets_on(text, own, size);
        let mut frame = self.read(Arc::clone(text), secrets.into());
        frame.own = own.clone();
        Arc::new(frame)
    }

    /// Sets the user-defined patterns its secrets were looked for with, beside
    /// the known kinds.
    pub fn looked_for(mut self, own: &OwnPatterns) -> Self {
        self.own = own.clone();
        self
    }

    /// The frame as it may leave: what is secret black in the picture and
    /// named by its kind in the text. `None` when nobody has read it, as then
    /// nobody knows. Made once for all who ask.
    pub fn cleared(self: &Arc<Self>, redact: Redact) -> Option<Arc<Self>> {
        let at = match redact {
            Redact::Off => return Some(Arc::clone(self)),
            Redact::Secrets => 0,
            Redact::SecretsAndPersonal => 1,
        };
        let text = self.text.as_ref()?;
        let cleared = self.cleared[at].get_or_init(|| {
            let secrets: Vec<_> = self.hidden(redact).collect();
            if secrets.is_empty() {
                return None;
            }
            let rects: Vec<_> = secrets.iter().map(|secret| secret.rect).collect();
            Some(Arc::new(Self {
                picture: Arc::new(self.picture.without(&rects)),
                text: Some(named(text, &secrets)),
                secrets: Arc::from([]),
                still: Arc::default(),
                cleared: Arc::default(),
                ..(**self).clone()
            }))
        });
        // With nothing to hide it is itself; kept in itself it would never go.
        Some(Arc::clone(cleared.as_ref().unwrap_or(self)))
    }

    /// The frame all black and without text: as unread parts of one are, where
    /// a picture is wanted that nobody has read. Costs a copy of the picture.
    pub fn masked(&self) -> Self {
        let whole = Rect {
            x: 0,
            y: 0,
            width: self.picture.width,
            height: self.picture.height,
        };
        self.showing(self.picture.without(&[whole]))
    }

    /// The text as it may leave, without painting the picture.
    pub fn cleared_text(&self, redact: Redact) -> Option<Arc<[TextLine]>> {
        let text = self.text.as_ref()?;
        let secrets: Vec<_> = self.hidden(redact).collect();
        Some(named(text, &secrets))
    }

    /// Secrets that must not leave, as far as they were read.
    pub fn hidden(&self, redact: Redact) -> impl Iterator<Item = &Secret> {
        let counts = move |secret: &&Secret| match redact {
            Redact::Off => false,
            Redact::Secrets => !secret.personal,
            Redact::SecretsAndPersonal => true,
        };
        self.secrets.iter().filter(counts)
    }

    /// Text of a secret; only ever to be compared with.
    pub fn value_of(&self, secret: &Secret) -> &str {
        let line = self.text.as_ref().and_then(|text| text.get(secret.line));
        line.and_then(|line| line.text.get(secret.range.clone()))
            .unwrap_or_default()
    }

    /// The same moment at half the size, for whoever cannot take it whole. It
    /// has a still of its own, and no text: that was read off the whole one.
    pub fn halved(&self) -> Self {
        self.showing(self.picture.halved())
    }

    /// Another picture of the same moment, with a still of its own.
    pub fn showing(&self, picture: Picture) -> Self {
        Self {
            picture: Arc::new(picture),
            text: None,
            secrets: Arc::from([]),
            still: Arc::default(),
            cleared: Arc::default(),
            ..self.clone()
        }
    }

    /// The frame as a JPEG at native resolution, encoded when first asked for
    /// and only then. Costs about 15 ms of CPU at 1080p: call it off the async
    /// workers.
    pub fn still(&self) -> Result<Still, EncodeError> {
        let make = || (self.encode)(&self.picture).map(Still::of);
        self.still.get_or_init(make).clone()
    }
}

/// The lines with each secret's kind in its place.
fn named(text: &[TextLine], secrets: &[&Secret]) -> Arc<[TextLine]> {
    if secrets.is_empty() {
        return text.into();
    }
    let mut lines = text.to_vec();
    let mut last_first: Vec<_> = secrets.iter().collect();
    last_first.sort_by_key(|secret| std::cmp::Reverse(secret.range.start));
    for secret in last_first {
        if let Some(line) = lines.get_mut(secret.line)
            && line.text.get(secret.range.clone()).is_some()
        {
            let name = crate::screen::redact::name_of(&secret.kind);
            line.text.replace_range(secret.range.clone(), &name);
        }
    }
    lines.into()
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

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
        let frame = frame(encode);
        let read = Arc::new(frame.read(Arc::from([]), Arc::from([])));
        assert_eq!(CALLS.load(Ordering::Relaxed), 0);
        assert_eq!(
            read.still().expect("encoded").sha256,
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
        assert!(frame.still().is_ok());
        let cleared = read.cleared(Redact::Secrets).expect("read");
        assert!(cleared.still().is_ok());
        assert_eq!(CALLS.load(Ordering::Relaxed), 1, "nothing to hide");
    }

    #[test]
    fn a_frame_with_nothing_to_hide_goes_when_nobody_holds_it() {
        let frame = Arc::new(frame(luma).read(Arc::from([]), Arc::from([])));
        let picture = Arc::downgrade(&frame.picture);
        assert!(frame.cleared(Redact::Secrets).is_some());
        assert!(frame.cleared(Redact::SecretsAndPersonal).is_some());
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
        let masked = frame(luma).read(Arc::from([line]), Arc::from([])).masked();
        let picture = &masked.picture;
        assert_eq!((picture.width, picture.height, masked.seq), (40, 20, 1));
        assert!(picture.y.iter().all(|sample| *sample == 0));
        let mut chroma = picture.u.iter().chain(&picture.v);
        assert!(chroma.all(|sample| *sample == 128));
        assert_eq!(masked.text, None);
    }

    #[test]
    fn nothing_leaves_unread_and_secrets_never() {
        let raw = Arc::new(frame(luma));
        assert!(raw.cleared(Redact::Secrets).is_none());
        assert!(raw.cleared(Redact::Off).is_some());
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
        let secret = |range, kind: &str, personal| Secret {
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
        let cleared = read.cleared(Redact::Secrets).expect("read");
        let text = |frame: &Frame| frame.text.as_ref().expect("read")[0].text.clone();
        assert_eq!(text(&cleared), "key=[masked password] of jo@example.com");
        assert_eq!(cleared.picture.y[5 * 40 + 9], 0);
        assert_eq!(cleared.picture.y[5 * 40 + 20], 200);
        let again = read.cleared(Redact::Secrets).expect("read");
        assert!(Arc::ptr_eq(&cleared, &again), "painted once");
        let all = read.cleared(Redact::SecretsAndPersonal).expect("read");
        assert_eq!(
            text(&all),
            "key=[masked password] of [masked e-mail address]"
        );
    }
}

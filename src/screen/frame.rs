//! Picture of a stream, its capture time and what is known about it.

use std::ops::Range;
use std::sync::{Arc, OnceLock};

use jiff::Timestamp;

use watchtower_base::stream_name::StreamName;
use watchtower_media::MediaTime;

use super::picture::{EncodeError, EncodeJpeg, Picture, Rect, TextLine};
use crate::changed_regions::Changes;
use crate::redact::{OwnPatterns, Redact, RedactedFrame, RedactedJpeg, name_of, secrets_on};

/// A picture as it came, with nothing hidden.
///
/// Once its text was read ([`Frame::read`]) it knows where secrets stand on
/// it. Models, evidence, stills and previews get a [`RedactedFrame`] of it.
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
    /// When the first picture came in that showed what is new on this one since
    /// the last reading; without a reader, since the last generation.
    pub changed_at: Timestamp,
    pub picture: Arc<Picture>,
    pub changes: Arc<Changes>,
    /// The text on the picture in reading order; `None` until it was read.
    pub text: Option<Arc<[TextLine]>>,
    secrets: Arc<[SensitiveText]>,
    /// User-defined patterns in force when the secrets were looked for.
    own: OwnPatterns,
    pub(super) encode: EncodeJpeg,
    /// Made once for all frames with this picture, and given out by
    /// [`RedactedFrame::still`] alone.
    pub(super) still: Arc<OnceLock<Result<RedactedJpeg, EncodeError>>>,
    /// Without secrets, and without personal data too; `None` where there is
    /// nothing to hide. See [`RedactedFrame::of`].
    pub(super) redacted: Arc<[OnceLock<Option<RedactedFrame>>; 2]>,
}

/// A piece of text that must not leave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SensitiveText {
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
            changed_at: captured_at,
            picture,
            changes: Arc::new(Changes::all(seq, captured_at)),
            text: None,
            secrets: Arc::from([]),
            own: OwnPatterns::default(),
            encode,
            still: Arc::default(),
            redacted: Arc::default(),
        }
    }

    /// The same frame, now with its text and what of it must not leave.
    /// Picture and still stay shared.
    pub fn read(&self, text: Arc<[TextLine]>, secrets: Arc<[SensitiveText]>) -> Self {
        Self {
            text: Some(text),
            secrets,
            redacted: Arc::default(),
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

    /// The text as it may leave, without painting the picture.
    pub fn redacted_text(&self, redact: Redact) -> Option<Arc<[TextLine]>> {
        let text = self.text.as_ref()?;
        let secrets: Vec<_> = self.hidden(redact).collect();
        Some(named(text, &secrets))
    }

    /// Secrets that must not leave, as far as they were read.
    pub fn hidden(&self, redact: Redact) -> impl Iterator<Item = &SensitiveText> {
        let counts = move |secret: &&SensitiveText| match redact {
            Redact::Off => false,
            Redact::Secrets => !secret.personal,
            Redact::SecretsAndPersonal => true,
        };
        self.secrets.iter().filter(counts)
    }

    /// Text of a secret; only ever to be compared with.
    pub fn value_of(&self, secret: &SensitiveText) -> &str {
        let line = self.text.as_ref().and_then(|text| text.get(secret.line));
        line.and_then(|line| line.text.get(secret.range.clone()))
            .unwrap_or_default()
    }

    /// Another picture of the same moment with that text on it, in which nothing
    /// is left to hide; with a still of its own.
    pub(super) fn showing(&self, picture: Picture, text: Option<Arc<[TextLine]>>) -> Self {
        Self {
            picture: Arc::new(picture),
            text,
            secrets: Arc::from([]),
            still: Arc::default(),
            redacted: Arc::default(),
            ..self.clone()
        }
    }
}

/// The lines with each secret's kind in its place.
pub(super) fn named(text: &[TextLine], secrets: &[&SensitiveText]) -> Arc<[TextLine]> {
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
            let name = name_of(&secret.kind);
            line.text.replace_range(secret.range.clone(), &name);
        }
    }
    lines.into()
}

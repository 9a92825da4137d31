//! Frame of a stream: picture, capture time, text and secrets.

use std::ops::Range;
use std::sync::{Arc, OnceLock};

use jiff::Timestamp;

use watchtower_base::stream_name::StreamName;
use watchtower_media::MediaTime;

use super::picture::{EncodeError, EncodeJpeg, Picture, Rect, TextLine};
use crate::changed_regions::Changes;
use crate::layout::Layout;
use crate::redact::{OwnPatterns, Redact, RedactedFrame, RedactedJpeg, name_of, secrets_on};

/// Unredacted frame.
///
/// After OCR ([`Frame::read`]) it holds the positions of secrets. Models,
/// evidence, stills and previews get a [`RedactedFrame`] of it.
#[derive(Debug, Clone)]
pub struct Frame {
    pub stream: StreamName,
    /// Number of the frame on this stream since the server started; continued
    /// when a publisher reconnects.
    pub seq: u64,
    /// `seq` of the frame that began this generation, as determined by the
    /// change gate.
    pub generation: u64,
    /// Generation that began this scene. The OCR reader advances it on a
    /// significant change, so that an unchanged screen is not analysed again;
    /// the frame's own generation before OCR.
    pub scene: u64,
    /// Number of scenes of this stream since it went live; 0 without OCR.
    pub scenes: u64,
    pub pts: MediaTime,
    /// Arrival time of the encoded picture.
    pub captured_at: Timestamp,
    /// When the first picture came in that showed what is new on this one since
    /// the last reading; without a reader, since the last generation.
    pub changed_at: Timestamp,
    pub picture: Arc<Picture>,
    pub changes: Arc<Changes>,
    /// Text on the picture in reading order; `None` before OCR.
    pub text: Option<Arc<[TextLine]>>,
    secrets: Arc<[SensitiveText]>,
    /// User-defined patterns of the search for secrets.
    own: OwnPatterns,
    pub(super) encode: EncodeJpeg,
    /// JPEG, encoded once for all frames with this picture, and accessed only
    /// by [`RedactedFrame::still`].
    pub(super) still: Arc<OnceLock<Result<RedactedJpeg, EncodeError>>>,
    /// Layout of the text, computed once by [`RedactedFrame::layout`].
    pub(super) layout: Arc<OnceLock<Layout>>,
    /// Redacted versions: without secrets, and also without personal data;
    /// `None` where there is nothing to hide. See [`RedactedFrame::of`].
    pub(super) redacted: Arc<[OnceLock<Option<RedactedFrame>>; 2]>,
}

/// Secret text that must not leave the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SensitiveText {
    /// Index of its line in [`Frame::text`]; past the end for an unread area.
    pub line: usize,
    /// Range in bytes of that line's text.
    pub range: Range<usize>,
    /// Area painted over to hide it.
    pub rect: Rect,
    /// For instance `AWS access key`.
    pub kind: String,
    /// Flag: personal data, redacted only where configured.
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
            scenes: 0,
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
            layout: Arc::default(),
            redacted: Arc::default(),
        }
    }

    /// Frame with its text and secrets. Picture and still stay shared.
    pub fn read(&self, text: Arc<[TextLine]>, secrets: Arc<[SensitiveText]>) -> Self {
        Self {
            text: Some(text),
            secrets,
            layout: Arc::default(),
            redacted: Arc::default(),
            ..self.clone()
        }
    }

    /// Frame with its secrets searched again by other patterns in its own text:
    /// the patterns at the time of sending apply, not those at the time of OCR.
    /// Takes a few milliseconds where they differ.
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

    /// Sets the user-defined patterns of the search for secrets, besides the
    /// built-in ones.
    pub fn looked_for(mut self, own: &OwnPatterns) -> Self {
        self.own = own.clone();
        self
    }

    /// Redacted text, without redacting the picture.
    pub fn redacted_text(&self, redact: Redact) -> Option<Arc<[TextLine]>> {
        let text = self.text.as_ref()?;
        let secrets: Vec<_> = self.hidden(redact).collect();
        Some(named(text, &secrets))
    }

    /// Secrets that must not leave the server, as far as they were read.
    pub fn hidden(&self, redact: Redact) -> impl Iterator<Item = &SensitiveText> {
        let counts = move |secret: &&SensitiveText| match redact {
            Redact::Off => false,
            Redact::Secrets => !secret.personal,
            Redact::SecretsAndPersonal => true,
        };
        self.secrets.iter().filter(counts)
    }

    /// Text of a secret, for comparison only.
    pub fn value_of(&self, secret: &SensitiveText) -> &str {
        let line = self.text.as_ref().and_then(|text| text.get(secret.line));
        line.and_then(|line| line.text.get(secret.range.clone()))
            .unwrap_or_default()
    }

    /// Redacted frame of the same time, with its own picture, text and still.
    pub(super) fn showing(&self, picture: Picture, text: Option<Arc<[TextLine]>>) -> Self {
        Self {
            picture: Arc::new(picture),
            text,
            secrets: Arc::from([]),
            still: Arc::default(),
            layout: Arc::default(),
            redacted: Arc::default(),
            ..self.clone()
        }
    }
}

/// Lines with each secret replaced by its kind.
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

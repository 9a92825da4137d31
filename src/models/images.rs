//! Pictures of a request, as sent.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use watchtower_domain::transcript::SentPicture;
use watchtower_screen::picture::{EncodeError, Rect};
use watchtower_screen::redact::{RedactedFrame, RedactedJpeg};

use crate::model::{Failure, Fatal};

/// Maximum size of a JPEG in bytes: it makes a request of just under 4 MB, the
/// largest that was never rejected.
const MAX_JPEG: usize = 2_950_000;

/// Minimum side of a part in pixels: a smaller one shows nothing, enlarged or
/// not.
const SMALLEST: u32 = 16;

/// Encoded pictures of a request; empty for a question without a picture.
#[derive(Default)]
pub(super) struct ImageSet {
    pub whole: Option<WholeImage>,
    /// Enlarged parts of it.
    pub closeups: Vec<Closeup>,
}

pub(super) struct WholeImage {
    /// Frame of the still: the original, or a smaller version of it.
    pub frame: RedactedFrame,
    pub base64: String,
    sent: SentPicture,
}

pub(super) struct Closeup {
    /// `[ymin, xmin, ymax, xmax]` in thousandths of the picture.
    pub bounds: [u16; 4],
    pub base64: String,
    sent: SentPicture,
}

impl ImageSet {
    /// Encodes a frame at native resolution if it fits, else halved until it
    /// does; with enlarged parts as far as they fit too. CPU-bound: call it off
    /// the async workers.
    pub(super) fn take(frame: RedactedFrame, regions: &[Rect]) -> Result<Self, EncodeError> {
        let whole = WholeImage::of(frame)?;
        let mut closeups = Vec::new();
        let mut room = MAX_JPEG.saturating_sub(whole.base64.len() / 4 * 3);
        for region in regions {
            let frame = &whole.frame;
            let (width, height) = (frame.picture.width, frame.picture.height);
            let part = frame.cropped(*region);
            if part.picture.width < SMALLEST || part.picture.height < SMALLEST {
                continue;
            }
            let part = part.doubled();
            let still = part.still()?;
            if still.bytes().len() > room {
                break;
            }
            room -= still.bytes().len();
            let bounds = region.thousandths(width, height);
            closeups.push(Closeup {
                bounds,
                base64: STANDARD.encode(still.bytes()),
                sent: sent(Some(bounds), &part, &still),
            });
        }
        Ok(Self {
            whole: Some(whole),
            closeups,
        })
    }

    /// Encodes it at half the size, halved again until it fits; without parts.
    pub(super) fn smaller(&self) -> Result<Self, EncodeError> {
        let whole = self.whole.as_ref();
        let whole = whole.map(|whole| WholeImage::of(whole.frame.halved()));
        Ok(Self {
            whole: whole.transpose()?,
            closeups: Vec::new(),
        })
    }

    /// Failure of a picture that was rejected in full size and smaller.
    pub(super) fn too_big(&self) -> Failure {
        let reason = match self.whole {
            Some(_) => "request rejected (413): too big, at half the size too",
            None => "request rejected (413): too big, without any picture",
        };
        Failure::fatal(Fatal::Request, reason)
    }

    /// Pictures for the transcript: the whole, then the parts.
    pub(super) fn sent(&self) -> Vec<SentPicture> {
        let whole = self.whole.iter().map(|whole| &whole.sent);
        let parts = self.closeups.iter().map(|closeup| &closeup.sent);
        whole.chain(parts).cloned().collect()
    }
}

impl WholeImage {
    fn of(mut frame: RedactedFrame) -> Result<Self, EncodeError> {
        let mut still = frame.still()?;
        while still.bytes().len() > MAX_JPEG && can_shrink(&frame) {
            frame = frame.halved();
            still = frame.still()?;
        }
        Ok(Self {
            base64: STANDARD.encode(still.bytes()),
            sent: sent(None, &frame, &still),
            frame,
        })
    }
}

fn sent(bounds: Option<[u16; 4]>, shown: &RedactedFrame, still: &RedactedJpeg) -> SentPicture {
    SentPicture {
        bounds,
        width: shown.picture.width,
        height: shown.picture.height,
        sha256: still.sha256().to_owned(),
    }
}

fn can_shrink(frame: &RedactedFrame) -> bool {
    frame.picture.width > 2 && frame.picture.height > 2
}

impl From<EncodeError> for Failure {
    fn from(error: EncodeError) -> Self {
        Self::fatal(Fatal::Request, error.to_string())
    }
}

/// Runs CPU-bound work off the async workers.
pub(super) async fn blocking<T, E>(
    work: impl FnOnce() -> Result<T, E> + Send + 'static,
) -> Result<T, Failure>
where
    T: Send + 'static,
    E: Into<Failure> + Send + 'static,
{
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result.map_err(Into::into),
        Err(error) => Err(Failure::fatal(
            Fatal::Request,
            format!("the picture could not be prepared: {}", reason_of(&error)),
        )),
    }
}

fn reason_of(error: &tokio::task::JoinError) -> &'static str {
    if error.is_cancelled() {
        "shutting down"
    } else {
        "its encoder failed"
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bytes::Bytes;
    use jiff::Timestamp;

    use super::*;
    use watchtower_base::stream_name::StreamName;
    use watchtower_media::MediaTime;
    use watchtower_screen::frame::Frame;
    use watchtower_screen::picture::Picture;
    use watchtower_screen::redact::Redact;

    /// Encoder whose result has as many bytes as the picture has samples.
    fn frame(width: u32, height: u32) -> RedactedFrame {
        let plane = |w: u32, h: u32| vec![0; (w * h) as usize];
        let picture = Picture {
            width,
            height,
            y: plane(width, height),
            u: plane(width.div_ceil(2), height.div_ceil(2)),
            v: plane(width.div_ceil(2), height.div_ceil(2)),
        };
        let frame = Frame::new(
            StreamName::new("team").unwrap(),
            7,
            MediaTime(0),
            Timestamp::UNIX_EPOCH,
            Arc::new(picture),
            |picture| Ok(Bytes::from(picture.y.clone())),
        );
        RedactedFrame::of(&Arc::new(frame), Redact::Off).unwrap()
    }

    #[test]
    fn fitting_picture_is_sent_unchanged() {
        let whole = frame(1920, 1080);
        let images = ImageSet::take(whole.clone(), &[]).unwrap();
        let sent = images.whole.as_ref().unwrap();
        assert!(Arc::ptr_eq(&sent.frame.picture, &whole.picture));
        assert_eq!(sent.base64.len(), (1920 * 1080_usize).div_ceil(3) * 4);
    }

    #[test]
    fn large_picture_is_halved_until_it_fits() {
        let images = ImageSet::take(frame(8000, 4000), &[]).unwrap();
        let images = images.whole.unwrap();
        assert_eq!((images.frame.picture.width, images.frame.seq), (2000, 7));
        assert!(images.base64.len() < 4_000_000);
        assert_eq!((images.sent.width, images.sent.bounds), (2000, None));
        let sum = |frame: &RedactedFrame| frame.still().unwrap().sha256().to_owned();
        assert_ne!(sum(&images.frame), sum(&frame(8000, 4000)));
    }

    #[test]
    fn parts_are_enlarged_within_the_limit() {
        let part = |width| Rect {
            x: 100,
            y: 100,
            width,
            height: 100,
        };
        let regions = [part(200), part(5), part(1800)];
        let images = ImageSet::take(frame(1920, 1080), &regions).unwrap();
        assert_eq!(images.closeups.len(), 2, "a sliver shows nothing");
        assert_eq!(images.closeups[0].bounds, [92, 52, 185, 156]);
        assert_eq!(
            images.closeups[0].base64.len(),
            (400 * 200_usize).div_ceil(3) * 4
        );
        let full = ImageSet::take(frame(2000, 1400), &[part(1800)]).unwrap();
        assert!(full.closeups.is_empty(), "the request would be too big");
    }
}

//! Picture of a PNG or JPEG file.
//!
//! The file's first bytes choose the decoder, which gets the whole file as one
//! packet: FFmpeg's demuxers, which would follow the addresses in a playlist,
//! never see it.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use ffmpeg_next as ff;
use ffmpeg_next::codec::{Context, Id};

use watchtower_screen::picture::Picture;

use super::convert::Converter;
use super::video::MAX_PIXELS;

/// Maximum size of a file: a PNG of the largest picture that is analysed, of a
/// screen, takes a third of it.
const MOST_BYTES: u64 = 64 << 20;
const PNG: &[u8] = b"\x89PNG\r\n\x1a\n";
const JPEG: &[u8] = b"\xff\xd8\xff";

/// Error of a file that is no picture.
#[derive(Debug, thiserror::Error)]
pub enum PictureFileError {
    #[error("failed to read {}: {source}", file.display())]
    Read {
        file: PathBuf,
        source: std::io::Error,
    },
    #[error("{} is not a file: expected a PNG or JPEG picture", file.display())]
    NoFile { file: PathBuf },
    #[error("{} is empty: expected a PNG or JPEG picture", file.display())]
    Empty { file: PathBuf },
    #[error("{} is too large: expected a picture of at most {} MiB", file.display(), MOST_BYTES >> 20)]
    TooLarge { file: PathBuf },
    #[error("{} is not a PNG or JPEG picture", file.display())]
    Format { file: PathBuf },
    #[error("failed to decode {}: {reason}", file.display())]
    Decode { file: PathBuf, reason: String },
}

/// Reads a PNG or JPEG file.
pub fn read_picture(file: &Path) -> Result<Picture, PictureFileError> {
    super::init();
    let bytes = bytes_of(file)?;
    let id = if bytes.starts_with(PNG) {
        Id::PNG
    } else if bytes.starts_with(JPEG) {
        Id::MJPEG
    } else {
        return Err(PictureFileError::Format {
            file: file.to_owned(),
        });
    };
    decode(&bytes, id).map_err(|reason| PictureFileError::Decode {
        file: file.to_owned(),
        reason,
    })
}

fn bytes_of(file: &Path) -> Result<Vec<u8>, PictureFileError> {
    let path = || file.to_owned();
    let failed = |source| PictureFileError::Read {
        file: path(),
        source,
    };
    // A pipe or a device may never end.
    if !std::fs::metadata(file).map_err(failed)?.is_file() {
        return Err(PictureFileError::NoFile { file: path() });
    }
    let mut bytes = Vec::new();
    let opened = File::open(file).map_err(failed)?;
    let read = opened.take(MOST_BYTES + 1).read_to_end(&mut bytes);
    match read.map_err(failed)? {
        0 => Err(PictureFileError::Empty { file: path() }),
        length if length as u64 > MOST_BYTES => Err(PictureFileError::TooLarge { file: path() }),
        _ => Ok(bytes),
    }
}

fn decode(bytes: &[u8], id: Id) -> Result<Picture, String> {
    let text = |error: ff::Error| match error {
        ff::Error::InvalidData | ff::Error::Eof => "damaged, cut off or too large".to_owned(),
        error => error.to_string(),
    };
    let codec = ff::decoder::find(id).ok_or_else(|| format!("FFmpeg has no {id:?} decoder"))?;
    let mut options = ff::Dictionary::new();
    options.set("max_pixels", &MAX_PIXELS.to_string());
    let context = Context::new_with_codec(codec);
    let opened = context.decoder().open_as_with(codec, options);
    let mut decoder = opened.and_then(ff::decoder::Opened::video).map_err(text)?;
    decoder
        .send_packet(&ff::Packet::copy(bytes))
        .map_err(text)?;
    decoder.send_eof().map_err(text)?;
    let mut frame = ff::frame::Video::empty();
    decoder.receive_frame(&mut frame).map_err(text)?;
    let converted = Converter::default().convert(&frame);
    converted.map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_encoded_picture_is_read_back() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("screen");
        let grey = Picture::grey(64, 48);
        let jpeg = crate::encode_jpeg(&grey).expect("encoded");
        std::fs::write(&file, jpeg).expect("written");
        let picture = read_picture(&file).expect("a picture");
        assert_eq!((picture.width, picture.height), (64, 48));
        assert!(picture.y.iter().all(|sample| sample.abs_diff(120) <= 1));
    }

    #[test]
    fn files_that_are_no_picture_are_named_with_the_reason() {
        let folder = tempfile::tempdir().expect("a folder");
        let told = |name: &str, bytes: &[u8]| {
            let file = folder.path().join(name);
            std::fs::write(&file, bytes).expect("written");
            let error = read_picture(&file).expect_err("no picture").to_string();
            error.replace(&folder.path().display().to_string(), "")
        };
        let expected = "expected a PNG or JPEG picture";
        assert_eq!(told("empty", b""), format!("/empty is empty: {expected}"));
        assert_eq!(told("text", b"hello"), "/text is not a PNG or JPEG picture");
        let list = b"#EXTM3U\nhttp://192.0.2.1/a.ts\n";
        assert_eq!(told("list", list), "/list is not a PNG or JPEG picture");
        let damaged = "failed to decode /cut: damaged, cut off or too large";
        assert_eq!(told("cut", PNG), damaged);
        let error = read_picture(folder.path())
            .expect_err("a folder")
            .to_string();
        assert!(
            error.ends_with(&format!("is not a file: {expected}")),
            "{error}"
        );
        let none = Path::new("/nowhere.png");
        let error = read_picture(none).expect_err("none").to_string();
        assert!(
            error.starts_with("failed to read /nowhere.png: No such file"),
            "{error}"
        );
    }

    #[test]
    fn a_picture_of_forged_size_is_refused() {
        crate::init();
        let mut forged = PNG.to_vec();
        forged.extend(13_u32.to_be_bytes());
        forged.extend(b"IHDR");
        forged.extend(60_000_u32.to_be_bytes());
        forged.extend(60_000_u32.to_be_bytes());
        forged.extend([8, 2, 0, 0, 0, 0, 0, 0, 0]);
        assert!(decode(&forged, Id::PNG).is_err());
    }
}

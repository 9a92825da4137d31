//! Requests received by the fake Gemini, and their pictures.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use serde_json::Value;
use tokio::time::Instant;

/// Received request.
#[derive(Debug, Clone)]
pub struct CapturedRequest {
    pub at: Instant,
    pub method: String,
    /// Path and query.
    pub path: String,
    /// Headers with lower-case names.
    pub headers: BTreeMap<String, String>,
    /// Body as JSON; null if there was none.
    pub body: Value,
}

impl CapturedRequest {
    /// System instruction: the persona of the model.
    pub fn system(&self) -> String {
        texts(&self.body["systemInstruction"]).concat()
    }

    /// Text of the request beside the frame.
    pub fn text(&self) -> String {
        texts(&self.body["contents"][0]).concat()
    }

    /// True if it requests an opinion on another analyst's report rather than
    /// findings on the screen.
    pub fn is_case(&self) -> bool {
        let schema = &self.body["generationConfig"]["responseSchema"];
        !schema["properties"]["stance"].is_null()
    }

    /// Decoded picture.
    pub fn jpeg(&self) -> Vec<u8> {
        self.jpegs().swap_remove(0)
    }

    /// Picture and its closeups.
    pub fn jpegs(&self) -> Vec<Vec<u8>> {
        self.inline("image/jpeg")
    }

    /// Decoded WAV file, if there is sound.
    pub fn wav(&self) -> Option<Vec<u8>> {
        self.inline("audio/wav").pop()
    }

    fn inline(&self, mime_type: &str) -> Vec<Vec<u8>> {
        let parts = self.body["contents"][0]["parts"].as_array().unwrap();
        let inline = parts.iter().map(|part| &part["inlineData"]);
        let data = inline
            .filter(|inline| inline["mimeType"] == mime_type)
            .filter_map(|inline| inline["data"].as_str());
        data.map(|data| decoded(data).expect("base64")).collect()
    }
}

fn texts(content: &Value) -> Vec<&str> {
    let parts = content["parts"].as_array().into_iter().flatten();
    parts.filter_map(|part| part["text"].as_str()).collect()
}

pub(super) fn decoded(data: &str) -> Option<Vec<u8>> {
    STANDARD
        .decode(data)
        .or_else(|_| URL_SAFE.decode(data))
        .ok()
}

/// Width and height from a JPEG's frame header (ITU-T T.81, B.2.2); `None` if
/// it isn't a complete JPEG.
pub fn jpeg_size(jpeg: &[u8]) -> Option<(u16, u16)> {
    let mut rest = jpeg.strip_prefix(&[0xff, 0xd8])?;
    if !jpeg.ends_with(&[0xff, 0xd9]) {
        return None;
    }
    loop {
        let [0xff, marker, high, low, ..] = *rest else {
            return None;
        };
        let length = usize::from(u16::from_be_bytes([high, low]));
        if matches!(marker, 0xc0..=0xc2) {
            let size = rest.get(5..9)?;
            let side = |at| u16::from_be_bytes([size[at], size[at + 1]]);
            return Some((side(2), side(0)));
        }
        rest = rest.get(2 + length..)?;
    }
}

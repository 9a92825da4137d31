//! The log of this test process, as text.

use std::io::{self, Write};
use std::sync::{Mutex, Once, PoisonError};

static TEXT: Mutex<Vec<u8>> = Mutex::new(Vec::new());

struct Capture;

impl Write for Capture {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut text = TEXT.lock().unwrap_or_else(PoisonError::into_inner);
        text.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Captures everything logged from here on, at trace level.
pub fn capture() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        tracing_subscriber::fmt()
            .with_max_level(tracing::Level::TRACE)
            .with_ansi(false)
            .with_writer(|| Capture)
            .init();
    });
}

pub fn text() -> String {
    let text = TEXT.lock().unwrap_or_else(PoisonError::into_inner);
    String::from_utf8_lossy(&text).into_owned()
}

/// Lines that contain all of these texts.
pub fn lines_with(parts: &[&str]) -> Vec<String> {
    text()
        .lines()
        .filter(|line| parts.iter().all(|part| line.contains(part)))
        .map(ToOwned::to_owned)
        .collect()
}

/// Waits for a line that contains all of these texts.
pub async fn line_with(parts: &[&str]) -> String {
    super::eventually(&format!("a log line with {parts:?}"), || {
        lines_with(parts).into_iter().next()
    })
    .await
}

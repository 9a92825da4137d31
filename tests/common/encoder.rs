//! Encoders as child processes: test picture, H.264 and AAC.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant};

/// Encoder process, killed when dropped.
pub struct Encoder {
    child: Child,
}

impl Encoder {
    /// ffmpeg at 25 frames a second with a keyframe every second; `extra` are
    /// output options.
    pub fn ffmpeg(url: &str, extra: &[&str]) -> Self {
        Self::spawn(
            Command::new("ffmpeg")
                .args(["-v", "error", "-nostdin", "-re"])
                .args(["-f", "lavfi", "-i", "testsrc2=size=320x240:rate=25"])
                .args(["-f", "lavfi", "-i", "sine=frequency=440:sample_rate=44100"])
                .args(["-c:v", "libx264", "-preset", "ultrafast", "-g", "25"])
                .args(["-pix_fmt", "yuv420p", "-c:a", "aac"])
                .args(extra)
                .args(["-f", "flv", url]),
        )
    }

    /// ffmpeg encoding the output of a filter graph, in real time, without
    /// audio.
    pub fn drawn(url: &str, graph: &str) -> Self {
        Self::drawn_as(url, graph, "yuv420p")
    }

    /// Like `drawn`, in another pixel format.
    pub fn drawn_as(url: &str, graph: &str, format: &str) -> Self {
        Self::spawn(
            Command::new("ffmpeg")
                .args(["-v", "error", "-nostdin", "-re", "-f", "lavfi", "-i", graph])
                .args(["-c:v", "libx264", "-preset", "ultrafast", "-g", "20"])
                .args(["-pix_fmt", format, "-f", "flv", url]),
        )
    }

    /// ffmpeg encoding the output of two filter graphs, one of them sound.
    pub fn with_sound(url: &str, picture: &str, sound: &str) -> Self {
        Self::spawn(
            Command::new("ffmpeg")
                .args(["-v", "error", "-nostdin"])
                .args(["-re", "-f", "lavfi", "-i", picture])
                .args(["-re", "-f", "lavfi", "-i", sound])
                .args(["-c:v", "libx264", "-preset", "ultrafast", "-g", "20"])
                .args(["-pix_fmt", "yuv420p", "-c:a", "aac", "-b:a", "192k"])
                .args(["-f", "flv", url]),
        )
    }

    /// ffmpeg publishing a file unchanged, in real time, in a loop.
    pub fn file(file: &Path, url: &str) -> Self {
        Self::spawn(
            Command::new("ffmpeg")
                .args(["-v", "error", "-nostdin", "-re", "-stream_loop", "-1", "-i"])
                .arg(file)
                .args(["-c", "copy", "-f", "flv", url]),
        )
    }

    /// Publishes the demo clip.
    pub fn demo(url: &str) -> Self {
        Self::file(&demo(), url)
    }

    /// GStreamer with this sink, `rtmp2sink` or `rtmpsink`, and a number of
    /// frames.
    pub fn gstreamer(sink: &str, url: &str, frames: u32) -> Self {
        // 44,100 samples in buffers of 1,024 are 43 buffers a second.
        let buffers = frames * 43 / 25;
        let pipeline = format!(
            "flvmux streamable=true name=mux ! {sink} location={url} \
             videotestsrc is-live=true num-buffers={frames} \
             ! video/x-raw,width=320,height=240,framerate=25/1 \
             ! x264enc tune=zerolatency speed-preset=ultrafast key-int-max=25 \
             ! video/x-h264,profile=baseline ! h264parse ! mux. \
             audiotestsrc is-live=true num-buffers={buffers} ! audio/x-raw,rate=44100,channels=2 \
             ! avenc_aac ! aacparse ! mux."
        );
        Self::spawn(
            Command::new("gst-launch-1.0")
                .arg("--quiet")
                .args(pipeline.split_whitespace()),
        )
    }

    fn spawn(command: &mut Command) -> Self {
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("failed to start {command:?}: {error}"));
        Self { child }
    }

    /// Waits for the process to end by itself; true if it succeeded.
    pub async fn wait(mut self) -> bool {
        tokio::task::spawn_blocking(move || {
            let status = self.child.wait().expect("a child of ours");
            status.success()
        })
        .await
        .expect("waiting does not panic")
    }

    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Encoder {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Simulated screen share: it shows a picture until it gets another.
pub struct Screencast {
    shown: Arc<Mutex<Arc<Vec<u8>>>>,
    encoder: Encoder,
}

impl Screencast {
    /// Starts at 15 frames a second, with x264 as for a screen share at a
    /// constant bitrate in kb/s, and a keyframe every four seconds. Pictures
    /// are planar 4:2:0 (`yuv420p`), 1920x1080.
    pub fn start(url: &str, bitrate: u32, first: Vec<u8>) -> Self {
        let rate = format!("{bitrate}k");
        let mut child = Command::new("ffmpeg")
            .args(["-v", "error", "-f", "rawvideo", "-pix_fmt", "yuv420p"])
            .args(["-s", "1920x1080", "-r", "15", "-i", "pipe:0"])
            .args([
                "-c:v",
                "libx264",
                "-preset",
                "ultrafast",
                "-tune",
                "zerolatency",
            ])
            .args(["-b:v", &rate, "-maxrate", &rate, "-bufsize", &rate])
            .args(["-g", "60", "-f", "flv", url])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .expect("ffmpeg is installed");
        let mut pipe = child.stdin.take().expect("piped");
        let shown = Arc::new(Mutex::new(Arc::new(first)));
        let weak = Arc::downgrade(&shown);
        std::thread::spawn(move || {
            let mut due = Instant::now();
            // Ends with the screencast, or with ffmpeg.
            while let Some(picture) = now(&weak)
                && pipe.write_all(&picture).is_ok()
            {
                due += Duration::from_secs(1) / 15;
                std::thread::sleep(due.saturating_duration_since(Instant::now()));
            }
        });
        let encoder = Encoder { child };
        Self { shown, encoder }
    }

    pub fn show(&self, picture: Vec<u8>) {
        *self.shown.lock().expect("nobody panics") = Arc::new(picture);
    }
}

fn now(shown: &Weak<Mutex<Arc<Vec<u8>>>>) -> Option<Arc<Vec<u8>>> {
    let shown = shown.upgrade()?;
    let picture = shown.lock().ok()?;
    Some(Arc::clone(&picture))
}

pub fn demo() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("demo/demo.mp4")
}

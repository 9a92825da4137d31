//! Tests against the ffmpeg program as the server, and servers that misbehave.

use std::io::Read;
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};

use ffmpeg_next::Rescale;
use tempfile::TempDir;

use super::track::MILLISECONDS;
use super::*;
use crate::clips;

fn clip(name: &str, args: &str) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join(name);
    clips::make(args, &path);
    (folder, path)
}

const BOTH: &str = "-f lavfi -i testsrc2=s=160x90:r=25 -f lavfi -i sine=r=44100 \
    -c:v libx264 -preset ultrafast -bf 2 -g 25 -c:a aac -t 1.2";
const SILENT: &str = "-f lavfi -i testsrc2=s=160x90:r=25 -c:v libx264 -preset ultrafast -g 25 -t 1";

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("bound").port()
}

/// Starts an ffmpeg that accepts one publication of `path` and copies it to
/// `out`.
fn server(port: u16, path: &str, out: &Path) -> Child {
    let mut child = Command::new("ffmpeg")
        .args(["-nostdin", "-v", "error", "-y", "-listen", "1", "-f", "flv"])
        .args(["-i", &format!("rtmp://127.0.0.1:{port}/{path}")])
        // Unbuffered, so that the file shows when media has arrived.
        .args(["-c", "copy", "-flush_packets", "1"])
        .arg(out)
        .stderr(Stdio::piped())
        .spawn()
        .expect("the ffmpeg program is installed");
    // It takes one connection only, so it can't be tried by connecting.
    let listening = format!(":{port:04X} 00000000:0000 0A");
    for _ in 0..200 {
        let table = std::fs::read_to_string("/proc/net/tcp").expect("Linux");
        if table.contains(&listening) {
            return child;
        }
        thread::sleep(Duration::from_millis(50));
    }
    let _ = child.kill();
    panic!("ffmpeg did not listen: {:?}", child.wait());
}

/// Waits until media has arrived, or for so long that something is wrong, which
/// the publication's own result then reports.
async fn arrived(out: &Path) {
    for _ in 0..600 {
        if std::fs::metadata(out).is_ok_and(|file| file.len() > 0) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Timestamps of the packets of one kind, in milliseconds.
fn times(file: &Path, medium: ff::media::Type) -> Vec<i64> {
    let mut input = ff::format::input(file).expect("a media file");
    let stream = input.streams().best(medium).expect("a stream");
    let (index, time_base) = (stream.index(), stream.time_base());
    let packets = input
        .packets()
        .filter(|(stream, _)| stream.index() == index);
    packets
        .filter_map(|(_, packet)| packet.dts())
        .map(|dts| dts.rescale(time_base, MILLISECONDS))
        .collect()
}

#[tokio::test]
async fn a_file_loops_without_a_seam_until_cancelled() {
    for name in ["clip.mp4", "clip.flv", "clip.mkv"] {
        let (folder, file) = clip(name, BOTH);
        let out = folder.path().join("got.flv");
        let port = free_port();
        let mut server = server(port, "live/team/key", &out);
        let cancel = CancellationToken::new();
        let url = format!("rtmp://127.0.0.1:{port}/live/team");
        let begin = Instant::now();
        let publication = publish(&file, &url, Some("key"), true, &cancel);
        let stop = async {
            arrived(&out).await;
            tokio::time::sleep(Duration::from_millis(3_200)).await;
            cancel.cancel();
            begin.elapsed()
        };
        let (report, at) = tokio::join!(publication, stop);
        let returned = begin.elapsed() - at;
        let report = report.expect("published");
        assert!(returned < Duration::from_secs(5), "{name}: {returned:?}");
        assert!(report.cancelled && report.loops >= 2, "{name}: {report:?}");
        assert!(server.wait().expect("ends").success(), "{name}");
        let video = times(&out, ff::media::Type::Video);
        assert!(video.len() >= 60, "{name}: {}", video.len());
        let steps = video.windows(2).map(|pair| pair[1] - pair[0]);
        for step in steps {
            // 40 ms a picture; the audio may be an AAC frame longer.
            assert!((1..=70).contains(&step), "{name}: {step} in {video:?}");
        }
        let audio = times(&out, ff::media::Type::Audio);
        assert!(
            audio.is_sorted() && audio.len() > 100,
            "{name}: {}",
            audio.len()
        );
        // Real time: no more media than time that has passed.
        let last = u64::try_from(video.last().copied().unwrap_or_default()).expect("positive");
        let time = at + Duration::from_millis(300);
        assert!(
            Duration::from_millis(last) <= time,
            "{name}: {last} ms in {at:?}"
        );
    }
}

#[tokio::test]
async fn a_file_without_sound_plays_to_its_end() {
    let (folder, file) = clip("silent.mp4", SILENT);
    let out = folder.path().join("got.flv");
    let port = free_port();
    let mut server = server(port, "live/team", &out);
    let url = format!("rtmp://127.0.0.1:{port}/live/team");
    let report = publish(&file, &url, None, false, &CancellationToken::new()).await;
    let report = report.expect("published");
    assert_eq!((report.loops, report.cancelled), (1, false));
    assert_eq!(report.played, Duration::from_secs(1));
    assert!(server.wait().expect("ends").success());
    assert_eq!(times(&out, ff::media::Type::Video).len(), 25);
}

async fn error(file: &Path, url: &str) -> String {
    let cancel = CancellationToken::new();
    let error = publish(file, url, Some("s3cret"), false, &cancel)
        .await
        .expect_err("refused");
    let text = format!("{error} {error:?}");
    assert!(!text.contains("s3cret"), "{text}");
    let folder = file.parent().expect("a folder").display().to_string();
    error.to_string().replace(&folder, "FOLDER")
}

#[tokio::test]
async fn files_that_do_not_fit_are_named_with_what_was_expected() {
    let url = "rtmp://127.0.0.1:1/live/team";
    let (_folder, file) = clip(
        "other.mkv",
        "-f lavfi -i testsrc2=s=160x90:r=25 -c:v mpeg4 -t 1",
    );
    insta::assert_snapshot!(error(&file, url).await, @"the video of FOLDER/other.mkv is mpeg4, expected H.264: convert it first");
    let args = BOTH.replace("aac", "flac");
    let (_folder, file) = clip("flac.mkv", &args);
    insta::assert_snapshot!(error(&file, url).await, @"the audio of FOLDER/flac.mkv is flac, expected AAC: convert it first");
    let (folder, file) = clip("tone.m4a", "-f lavfi -i sine -c:a aac -t 1");
    insta::assert_snapshot!(error(&file, url).await, @"FOLDER/tone.m4a has no video, expected H.264");
    let text = folder.path().join("text.txt");
    std::fs::write(&text, "not a film").expect("writes");
    insta::assert_snapshot!(error(&text, url).await, @"failed to read FOLDER/text.txt: not a media file");
    let missing = folder.path().join("missing.mp4");
    insta::assert_snapshot!(error(&missing, url).await, @"failed to read FOLDER/missing.mp4: No such file or directory (os error 2)");
}

#[tokio::test]
async fn servers_that_do_not_play_along_are_named() {
    let (_folder, file) = clip("silent.mp4", SILENT);
    let port = free_port();
    let url = format!("rtmp://127.0.0.1:{port}/live/team");
    let shown = |text: String| text.replace(&port.to_string(), "PORT");
    insta::assert_snapshot!(shown(error(&file, &url).await), @"failed to reach 127.0.0.1:PORT: connection refused");
    // Server that closes the connection at once.
    let listener = TcpListener::bind(("127.0.0.1", port)).expect("binds");
    let closer = thread::spawn(move || drop(listener.accept()));
    insta::assert_snapshot!(shown(error(&file, &url).await), @"127.0.0.1:PORT rejected the stream: check the RTMP server, stream name and key");
    closer.join().expect("closes");
    let text = error(&file, "rtmp://no-such-host.invalid/live/team").await;
    assert!(
        text.starts_with("failed to reach no-such-host.invalid:1935: "),
        "{text}"
    );
}

#[tokio::test]
async fn a_server_that_leaves_in_mid_stream_is_noticed() {
    let (folder, file) = clip("silent.mp4", SILENT);
    let port = free_port();
    let out = folder.path().join("got.flv");
    let mut server = server(port, "live/team", &out);
    let url = format!("rtmp://127.0.0.1:{port}/live/team");
    let cancel = CancellationToken::new();
    let publication = publish(&file, &url, None, true, &cancel);
    let leave = async {
        arrived(&out).await;
        server.kill().expect("ours");
        server.wait().expect("ends");
    };
    let (result, ()) = tokio::join!(publication, leave);
    assert!(
        matches!(result, Err(FilePublishError::Closed { .. })),
        "{result:?}"
    );
}

#[tokio::test]
async fn cancelling_does_not_wait_for_a_server_that_is_silent() {
    let (_folder, file) = clip("silent.mp4", SILENT);
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("bound").port();
    let (met, connected) = oneshot::channel();
    let mute = thread::spawn(move || {
        let (mut peer, _) = listener.accept().expect("a peer");
        met.send(()).expect("the test waits");
        // Until the peer closes.
        while peer.read(&mut [0; 4096]).is_ok_and(|read| read > 0) {}
    });
    let url = format!("rtmp://127.0.0.1:{port}/live/team");
    let cancel = CancellationToken::new();
    let publication = publish(&file, &url, None, true, &cancel);
    let stop = async {
        let connected = tokio::time::timeout(Duration::from_secs(60), connected).await;
        connected.expect("in time").expect("a connection");
        tokio::time::sleep(Duration::from_millis(300)).await;
        cancel.cancel();
        Instant::now()
    };
    let (report, at) = tokio::join!(publication, stop);
    let returned = at.elapsed();
    assert!(report.expect("no error").cancelled);
    // Without the cancellation it would wait for 10 s.
    assert!(returned < Duration::from_secs(5), "{returned:?}");
    mute.join().expect("ends");
}

//! Test clips, made by the ffmpeg program and read back as the access units an
//! RTMP publisher would have pushed.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use bytes::Bytes;
use ffmpeg_next as ff;

use watchtower_media::{AccessUnit, MediaTime, Playback, VideoCodec, VideoConfig};

/// Runs `ffmpeg <args> <out>`.
pub(super) fn make(args: &str, out: &Path) {
    let status = Command::new("ffmpeg")
        .args(["-nostdin", "-v", "error", "-y"])
        .args(args.split_whitespace())
        .arg(out)
        .status()
        .expect("the ffmpeg program is installed");
    assert!(status.success(), "ffmpeg {args}");
}

/// Units of the video of a generated clip: a lavfi source, then encoder
/// options.
pub(super) fn units(source: &str, options: &str) -> Vec<AccessUnit> {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("clip.mp4");
    make(
        &format!("-f lavfi -i {source} -c:v libx264 -preset ultrafast {options}"),
        &path,
    );
    read(&path)
}

/// Units of the video of a file.
pub(super) fn read(path: &Path) -> Vec<AccessUnit> {
    super::init();
    let mut input = ff::format::input(path).expect("a media file");
    let stream = input
        .streams()
        .best(ff::media::Type::Video)
        .expect("a video stream");
    let (index, time_base) = (stream.index(), stream.time_base());
    // SAFETY: the parameters belong to the open input; extradata is
    // `extradata_size` bytes long.
    let config = unsafe {
        let parameters = stream.parameters();
        let parameters = parameters.as_ptr();
        let size = usize::try_from((*parameters).extradata_size).expect("a size");
        let record = std::slice::from_raw_parts((*parameters).extradata, size);
        Arc::new(VideoConfig {
            record: Bytes::copy_from_slice(record),
            codec: VideoCodec::H264,
            playback: Playback::Plays,
            sps: Vec::new(),
            pps: Vec::new(),
            nal_length_size: 4,
            width: (*parameters).width.unsigned_abs(),
            height: (*parameters).height.unsigned_abs(),
        })
    };
    let mut units = Vec::new();
    for (stream, packet) in input.packets() {
        if stream.index() != index {
            continue;
        }
        let time = |ticks: Option<i64>| {
            use ff::Rescale;
            MediaTime(ticks.expect("a timestamp").rescale(time_base, (1, 90_000)))
        };
        units.push(AccessUnit {
            pts: time(packet.pts()),
            // Matroska stores none.
            dts: time(packet.dts().or(packet.pts())),
            keyframe: packet.is_key(),
            config: Arc::clone(&config),
            data: Bytes::copy_from_slice(packet.data().expect("a payload")),
        });
    }
    units
}

/// Shifts the clip's timestamps by `by`.
pub(super) fn shifted(units: &[AccessUnit], by: MediaTime) -> Vec<AccessUnit> {
    let mut units = units.to_vec();
    for unit in &mut units {
        unit.pts.0 += by.0;
        unit.dts.0 += by.0;
    }
    units
}

//! Test clips, made by the ffmpeg program and read back as the access units an
//! RTMP publisher would have pushed.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use bytes::Bytes;
use ffmpeg_next as ff;

use watchtower_media::codec::config_record::parse_config;
use watchtower_media::codec::vpx::VpxReader;
use watchtower_media::{
    AccessUnit, AudioCodec, AudioUnit, MediaTime, Playback, VideoCodec, VideoConfig,
};

/// Runs `ffmpeg <args> <out>`.
pub(super) fn make(args: &str, out: &Path) {
    let status = Command::new("ffmpeg")
        // Only errors of SVT-AV1, which has a log of its own.
        .env("SVT_LOG", "1")
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

/// Units of the video of a generated clip in a codec of browsers.
pub(super) fn web_units(source: &str, codec: VideoCodec, options: &str) -> Vec<AccessUnit> {
    let (encoder, name) = match codec {
        VideoCodec::Vp8 => ("libvpx -deadline realtime -cpu-used 8", "clip.webm"),
        VideoCodec::Vp9 => ("libvpx-vp9 -deadline realtime -cpu-used 8", "clip.webm"),
        _ => ("libsvtav1 -preset 12", "clip.mp4"),
    };
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join(name);
    make(
        &format!("-f lavfi -i {source} -c:v {encoder} {options}"),
        &path,
    );
    let units = read(&path);
    assert_eq!(units[0].config.codec, codec);
    units
}

/// Units of a generated sound.
pub(super) fn sound(source: &str, codec: AudioCodec) -> Vec<AudioUnit> {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (name, encoder) = match codec {
        AudioCodec::Aac => ("clip.mp4", "aac -b:a 192k"),
        AudioCodec::Opus => ("clip.ogg", "libopus -b:a 128k"),
    };
    let path = folder.path().join(name);
    make(&format!("-f lavfi -i {source} -c:a {encoder}"), &path);
    read_sound(&path, codec)
}

/// Units of the sound of a file.
pub(super) fn read_sound(path: &Path, codec: AudioCodec) -> Vec<AudioUnit> {
    super::init();
    let mut input = ff::format::input(path).expect("a media file");
    let stream = input.streams().best(ff::media::Type::Audio).expect("sound");
    let time_base = stream.time_base();
    let (config, ..) = extradata(&stream.parameters());
    let unit = |(_, packet): (_, ff::Packet)| {
        use ff::Rescale;
        let ticks = packet.pts().expect("a timestamp");
        AudioUnit {
            // Rounded to whole milliseconds, as in RTMP.
            pts: MediaTime::from_ms(ticks.rescale(time_base, (1, 1000))),
            codec,
            config: config.clone(),
            data: Bytes::copy_from_slice(packet.data().expect("a payload")),
        }
    };
    input.packets().map(unit).collect()
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
    let mut vpx = match stream.parameters().id() {
        ff::codec::Id::VP8 => Some(VpxReader::vp8()),
        ff::codec::Id::VP9 => Some(VpxReader::vp9()),
        _ => None,
    };
    let config = Arc::new(config_of(&stream));
    let mut units = Vec::new();
    for (stream, packet) in input.packets() {
        if stream.index() != index {
            continue;
        }
        let time = |ticks: Option<i64>| {
            use ff::Rescale;
            MediaTime(ticks.expect("a timestamp").rescale(time_base, (1, 90_000)))
        };
        let pts = time(packet.pts());
        // Matroska stores none.
        let dts = time(packet.dts().or(packet.pts()));
        let data = Bytes::copy_from_slice(packet.data().expect("a payload"));
        units.push(match &mut vpx {
            Some(reader) => reader.unit(pts, dts, data).expect("a frame"),
            None => AccessUnit {
                pts,
                dts,
                keyframe: packet.is_key(),
                config: Arc::clone(&config),
                data,
            },
        });
    }
    units
}

fn config_of(stream: &ff::format::stream::Stream<'_>) -> VideoConfig {
    let parameters = stream.parameters();
    let (record, width, height) = extradata(&parameters);
    if parameters.id() == ff::codec::Id::AV1 {
        return parse_config(VideoCodec::Av1, &record).expect("a record");
    }
    VideoConfig {
        record,
        codec: VideoCodec::H264,
        playback: Playback::Plays,
        sps: Vec::new(),
        pps: Vec::new(),
        nal_length_size: 4,
        width,
        height,
    }
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

/// Out-of-band header, width and height.
fn extradata(parameters: &ff::codec::Parameters) -> (Bytes, u32, u32) {
    // SAFETY: the parameters are alive; extradata is `extradata_size` bytes
    // long, and null without any.
    unsafe {
        let parameters = parameters.as_ptr();
        let size = usize::try_from((*parameters).extradata_size).expect("a size");
        let record = match size {
            0 => Bytes::new(),
            size => {
                Bytes::copy_from_slice(std::slice::from_raw_parts((*parameters).extradata, size))
            }
        };
        let (width, height) = ((*parameters).width, (*parameters).height);
        (record, width.unsigned_abs(), height.unsigned_abs())
    }
}

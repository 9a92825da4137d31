//! Pictures of the benchmarks: files as `scripts/bench.sh` writes them, planes as
//! the server decodes them (8 bits, 4:2:0, full range), with their size in the
//! name: NAME-WIDTHxHEIGHT.yuv.

use std::path::Path;

use watchtower_screen::picture::Picture;

pub(crate) fn picture(file: &Path) -> Result<Picture, String> {
    let told = |reason: &str| format!("{}: {reason}", file.display());
    let stem = file.file_stem().and_then(|stem| stem.to_str());
    let size = stem.and_then(|stem| stem.rsplit_once('-')?.1.split_once('x'));
    let size = size.and_then(|(width, height)| Some((width.parse().ok()?, height.parse().ok()?)));
    let (width, height): (u32, u32) = size.ok_or_else(|| told("no size in its name"))?;
    let mut samples = std::fs::read(file).map_err(|error| told(&error.to_string()))?;
    let luma = width as usize * height as usize;
    let chroma = (width.div_ceil(2) * height.div_ceil(2)) as usize;
    if samples.len() != luma + 2 * chroma {
        return Err(told("not of that size"));
    }
    let v = samples.split_off(luma + chroma);
    let u = samples.split_off(luma);
    Ok(Picture {
        width,
        height,
        y: samples,
        u,
        v,
    })
}

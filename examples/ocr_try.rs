use std::path::Path;
fn main() {
    let ocr = watchtower::vision::Ocr::load(Path::new("models")).unwrap();
    for file in std::env::args().skip(1) {
        let raw = std::fs::read(&file).unwrap(); // yuv420p full range 1920x1080
        let (w, h) = (1920u32, 1080u32);
        let n = (w * h) as usize;
        let p = watchtower::media::Picture {
            width: w,
            height: h,
            y: raw[..n].to_vec(),
            u: raw[n..n + n / 4].to_vec(),
            v: raw[n + n / 4..n + n / 2].to_vec(),
        };
        let t = std::time::Instant::now();
        let lines = ocr.read(&p, |_| None).unwrap();
        println!("== {file} {} lines {:?}", lines.len(), t.elapsed());
        for l in lines {
            println!(
                "{:4} {:4} {:4}x{:<3} {:.2} {}",
                l.rect.x, l.rect.y, l.rect.width, l.rect.height, l.confidence, l.text
            );
        }
    }
}

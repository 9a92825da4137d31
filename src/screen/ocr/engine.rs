//! ONNX Runtime, from a shared library that lies beside the models.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;
use std::sync::Mutex;

use ort::environment::Environment;
use ort::session::{RunOptions, Session};
use ort::value::TensorRef;
use watchtower_base::sync::Locked as _;

use super::{LoadError, ReadError};

/// File name of the shared library; scripts/fetch-models.sh gives it.
const LIBRARY: &str = "libonnxruntime.so";

/// Largest input after which a network keeps its memory for the next one: a
/// screen of 1080p. New memory costs the detector a quarter more; for a screen of
/// 4K it would be most of a gigabyte.
const KEPT: usize = 3 * 1920 * 1088;

/// Outputs of a network, each with its shape.
pub(super) type Outputs<'a> = Vec<(Vec<usize>, &'a [f32])>;

/// ONNX graph with one input, and the memory it works in.
pub(super) struct Network {
    session: Session,
}

impl std::fmt::Debug for Network {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Network").finish_non_exhaustive()
    }
}

impl Network {
    /// Prepares a graph to run on the calling thread alone.
    pub(super) fn new(runtime: &OnnxRuntime, model: &[u8]) -> ort::Result<Self> {
        let session = Session::builder(&runtime.0)?
            .with_intra_threads(1)?
            .with_inter_threads(1)?
            .commit_from_memory(model)?;
        Ok(Self { session })
    }

    /// Runs the graph and hands its outputs to `take`.
    pub(super) fn run<T>(
        &mut self,
        shape: &[usize],
        input: &[f32],
        take: impl FnOnce(Outputs<'_>) -> Result<T, ReadError>,
    ) -> Result<T, ReadError> {
        let input = TensorRef::from_array_view((shape, input)).map_err(failed)?;
        let mut options = RunOptions::new().map_err(failed)?;
        if shape.iter().product::<usize>() > KEPT {
            // What is not in use after the run goes back to the system.
            let key = "memory.enable_memory_arena_shrinkage";
            options.set(key, "cpu:0").map_err(failed)?;
        }
        let inputs = ort::inputs![input];
        let outputs = self.session.run_with_options(inputs, &options);
        let outputs = outputs.map_err(failed)?;
        let mut extracted = Vec::with_capacity(outputs.len());
        for at in 0..outputs.len() {
            let (shape, values) = outputs[at].try_extract_tensor::<f32>().map_err(failed)?;
            let shape = shape.iter().map(|side| usize::try_from(*side).unwrap_or(0));
            extracted.push((shape.collect(), values));
        }
        take(extracted)
    }
}

#[expect(clippy::needless_pass_by_value, reason = "an argument of map_err")]
fn failed(error: ort::Error) -> ReadError {
    ReadError(error.to_string())
}

/// ONNX Runtime, of which a process has one.
#[derive(Debug, Clone)]
pub(super) struct OnnxRuntime(Environment);

impl OnnxRuntime {
    /// Loads the library from a folder; later calls give the same, from
    /// wherever.
    pub(super) fn load(folder: &Path) -> Result<Self, LoadError> {
        static LOADED: Mutex<Option<OnnxRuntime>> = Mutex::new(None);
        let mut loaded = LOADED.locked();
        if let Some(runtime) = &*loaded {
            return Ok(runtime.clone());
        }
        let file = folder.join(LIBRARY);
        let runtime = is_whole(&file).and_then(|()| Self::open(&file));
        match runtime {
            Ok(runtime) => Ok(loaded.insert(runtime).clone()),
            Err(reason) => Err(LoadError::Library { file, reason }),
        }
    }

    fn open(file: &Path) -> Result<Self, String> {
        // A name without a folder would be looked for in those of the system.
        let file = file.canonicalize().map_err(|error| error.to_string())?;
        let builder = ort::init_from(file).map_err(|error| error.to_string())?;
        let environment = builder
            .with_name("watchtower")
            .with_telemetry(false)
            .build();
        environment.map(Self).map_err(|error| error.to_string())
    }
}

/// Fails if a library is not a shared library of 64 bits with all of its bytes:
/// the dynamic linker does not look, and the process dies when it touches what
/// is not there.
fn is_whole(file: &Path) -> Result<(), String> {
    let told = |error: std::io::Error| error.to_string();
    let mut library = File::open(file).map_err(told)?;
    let size = library.metadata().map_err(told)?.len();
    let mut header = [0; 64];
    library
        .read_exact(&mut header)
        .map_err(|_| format!("it is cut short: {size} bytes"))?;
    if header[..5] != *b"\x7fELF\x02" {
        return Err("it is no shared library of 64 bits".to_owned());
    }
    // Where the table of sections begins, the size of an entry, and their
    // number (elf(5)). It is the last part of a file.
    let number = |at: usize, bytes: usize| {
        header[at..at + bytes]
            .iter()
            .rev()
            .fold(0_u64, |all, byte| all << 8 | u64::from(*byte))
    };
    let end = number(58, 2)
        .checked_mul(number(60, 2))
        .and_then(|table| table.checked_add(number(40, 8)));
    match end {
        Some(end) if end <= size => Ok(()),
        Some(end) => Err(format!("it is cut short: {size} bytes of {end}")),
        None => Err("it is no shared library of 64 bits".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Header of a library whose table of sections ends at 4096.
    fn header() -> [u8; 64] {
        let mut header = [0; 64];
        header[..5].copy_from_slice(b"\x7fELF\x02");
        header[40..48].copy_from_slice(&2816_u64.to_le_bytes());
        header[58..60].copy_from_slice(&64_u16.to_le_bytes());
        header[60..62].copy_from_slice(&20_u16.to_le_bytes());
        header
    }

    #[test]
    fn a_library_cut_short_is_refused_before_it_is_mapped() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join(LIBRARY);
        let told = |bytes: &[u8]| {
            std::fs::write(&file, bytes).unwrap();
            is_whole(&file)
        };
        let mut library = header().to_vec();
        library.resize(4096, 0);
        assert_eq!(told(&library), Ok(()));
        let cut = told(&library[..4095]).unwrap_err();
        assert_eq!(cut, "it is cut short: 4095 bytes of 4096");
        assert!(
            told(&library[..63])
                .unwrap_err()
                .contains("cut short: 63 bytes")
        );
        assert!(
            told(&[b'<'; 4096])
                .unwrap_err()
                .contains("no shared library")
        );
        library[40..48].fill(0xff);
        assert!(told(&library).unwrap_err().contains("no shared library"));
    }

    #[test]
    fn what_is_no_onnx_runtime_is_refused_with_the_reason() {
        let folder = tempfile::tempdir().unwrap();
        let nowhere = OnnxRuntime::open(&folder.path().join(LIBRARY)).unwrap_err();
        assert!(nowhere.contains("No such file"), "{nowhere}");
    }
}

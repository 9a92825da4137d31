//! ONNX Runtime, loaded from a shared library beside the models.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;
use std::sync::Mutex;

use ort::environment::Environment;
use ort::session::{RunOptions, Session};
use ort::value::TensorRef;
use watchtower_base::sync::Locked as _;

use super::{LoadError, ReadError};

/// File name of the shared library, as scripts/fetch-models.sh saves it.
const LIBRARY: &str = "libonnxruntime.so";

/// Largest input, in values, after which a network keeps its memory: a 1080p
/// screen. Allocating anew costs the detector a quarter more time; for a 4K
/// screen the kept memory would be most of a gigabyte.
const KEPT: usize = 3 * 1920 * 1088;

/// Outputs of a network, each with its shape.
pub(super) type Outputs<'a> = Vec<(Vec<usize>, &'a [f32])>;

/// ONNX graph with one input, and its working memory.
pub(super) struct Network {
    session: Session,
}

impl std::fmt::Debug for Network {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Network").finish_non_exhaustive()
    }
}

impl Network {
    /// Prepares a graph to run on the calling thread only.
    pub(super) fn new(runtime: &OnnxRuntime, model: &[u8]) -> ort::Result<Self> {
        let session = Session::builder(&runtime.0)?
            .with_intra_threads(1)?
            .with_inter_threads(1)?
            // A pattern is kept for each shape, and nearly every line has its
            // own: a third of the memory, and no time gained.
            .with_memory_pattern(false)?
            .commit_from_memory(model)?;
        Ok(Self { session })
    }

    /// Runs the graph and passes its outputs to `take`.
    pub(super) fn run<T>(
        &mut self,
        shape: &[usize],
        input: &[f32],
        take: impl FnOnce(Outputs<'_>) -> Result<T, ReadError>,
    ) -> Result<T, ReadError> {
        let input = TensorRef::from_array_view((shape, input)).map_err(failed)?;
        let mut options = RunOptions::new().map_err(failed)?;
        if shape.iter().product::<usize>() > KEPT {
            // Return unused memory to the system after the run.
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

/// ONNX Runtime environment; a process has only one.
#[derive(Debug, Clone)]
pub(super) struct OnnxRuntime(Environment);

impl OnnxRuntime {
    /// Loads the library from a folder; later calls return the same one,
    /// whatever the folder.
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
        // A bare file name would be searched for in the system's library
        // folders.
        let file = file.canonicalize().map_err(|error| error.to_string())?;
        let builder = ort::init_from(file).map_err(|error| error.to_string())?;
        let environment = builder
            .with_name("watchtower")
            .with_telemetry(false)
            .build();
        environment.map(Self).map_err(|error| error.to_string())
    }
}

/// Fails unless the file is a complete 64-bit shared library: the dynamic
/// linker does not check, and the process crashes when it touches a missing
/// page.
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
    // Offset, entry size and number of the section headers (elf(5)). That table
    // is the last part of a file.
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

    /// Header of a library whose section header table ends at byte 4096.
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

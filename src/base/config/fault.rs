//! Everything wrong with a configuration file, at once.

use std::fmt;

/// Fault of a configuration file and its path: `agents[2].interval`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    pub path: String,
    /// Names the value and what was expected.
    pub message: String,
}

/// All that is wrong with a file; never empty as an error.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Faults {
    pub file: String,
    pub faults: Vec<Fault>,
}

impl Faults {
    pub fn new(file: &str) -> Self {
        Self {
            file: file.to_owned(),
            faults: Vec::new(),
        }
    }

    pub fn add(&mut self, path: impl Into<String>, message: impl Into<String>) {
        self.faults.push(Fault {
            path: path.into(),
            message: message.into(),
        });
    }

    pub fn is_empty(&self) -> bool {
        self.faults.is_empty()
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.faults.len();
        let s = if count == 1 { "" } else { "s" };
        write!(f, "{count} error{s} in {}", self.file)?;
        for Fault { path, message } in &self.faults {
            if path.is_empty() {
                write!(f, "\n  {message}")?;
            } else {
                write!(f, "\n  {path}: {message}")?;
            }
        }
        Ok(())
    }
}

impl std::error::Error for Faults {}

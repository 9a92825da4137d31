//! Faults of a configuration file, reported all at once.

use std::fmt;

use crate::text::counted;

/// Fault of a configuration file and its path: `agents[2].interval`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    pub path: String,
    /// Message that names the value and what was expected.
    pub message: String,
}

/// All faults of a file; never empty as an error.
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
        let errors = counted(self.faults.len(), "error");
        write!(f, "{errors} in {}", self.file)?;
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

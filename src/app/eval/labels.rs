//! Labels of a recording: the ground truth for findings on it.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use watchtower_domain::finding::{Category, Severity};

#[derive(Debug, thiserror::Error)]
pub enum LabelsError {
    #[error("failed to read the labels {}: {source}", file.display())]
    Read {
        file: PathBuf,
        source: std::io::Error,
    },
    #[error("{} holds no labels: {reason}; docs/evaluation.md has the format", file.display())]
    Format { file: PathBuf, reason: String },
}

/// Labels of one recording; times are seconds from its first frame. Other keys
/// of the file (the source of its frames, for instance) are the author's.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Labels {
    pub scenes: Vec<Scene>,
}

/// Period of the recording with one thing on the screen.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Scene {
    pub start: f64,
    pub end: f64,
    /// True if there is nothing to find: every finding is a false positive.
    #[serde(default)]
    pub healthy: bool,
    #[serde(default)]
    pub events: Vec<LabelledEvent>,
}

/// Labelled event to be found.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct LabelledEvent {
    pub start: f64,
    pub end: f64,
    /// Names of the agents responsible for it.
    pub agents: Vec<String>,
    pub category: Category,
    pub severity: Severity,
    pub title: String,
    /// Text that proves it, each entry on a line of the screen.
    #[serde(default)]
    pub strings: Vec<String>,
}

impl Labels {
    pub fn load(file: &Path) -> Result<Self, LabelsError> {
        let text = std::fs::read_to_string(file).map_err(|source| LabelsError::Read {
            file: file.to_owned(),
            source,
        })?;
        let labels = serde_json::from_str(&text).map_err(|error| error.to_string());
        labels
            .and_then(Self::checked)
            .map_err(|reason| LabelsError::Format {
                file: file.to_owned(),
                reason,
            })
    }

    fn checked(self) -> Result<Self, String> {
        for (at, scene) in self.scenes.iter().enumerate() {
            if !(0.0 <= scene.start && scene.start < scene.end) {
                let (start, end) = (scene.start, scene.end);
                return Err(format!(
                    "scenes[{at}]: must start before it ends, got {start} to {end}"
                ));
            }
            for (index, event) in scene.events.iter().enumerate() {
                let path = format!("scenes[{at}].events[{index}]");
                if !(scene.start <= event.start
                    && event.start < event.end
                    && event.end <= scene.end)
                {
                    let (start, end) = (event.start, event.end);
                    return Err(format!(
                        "{path}: must lie within its scene, got {start} to {end}"
                    ));
                }
                if event.agents.is_empty() {
                    return Err(format!("{path}.agents: must name at least one analyst"));
                }
            }
            if scene.healthy && !scene.events.is_empty() {
                return Err(format!("scenes[{at}]: a healthy scene has no events"));
            }
        }
        Ok(self)
    }

    pub(super) fn events(&self) -> impl Iterator<Item = &LabelledEvent> {
        self.scenes.iter().flat_map(|scene| &scene.events)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sample_s_labels_are_labels() {
        let labels = Labels::load(Path::new(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../../demo/labels.json"
        )))
        .unwrap();
        assert!(labels.events().count() >= 9);
        assert!(labels.scenes.iter().any(|scene| scene.healthy));
    }

    #[test]
    fn wrong_ones_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("labels.json");
        let event = r#"{"start": 1, "end": 9, "agents": ["SecOps"], "category": "intrusion", "severity": "high", "title": "t"}"#;
        for (text, expected) in [
            ("{", "EOF"),
            (
                r#"{"scenes": [{"start": 5, "end": 2}]}"#,
                "scenes[0]: must start before it ends, got 5 to 2",
            ),
            (
                &format!(r#"{{"scenes": [{{"start": 0, "end": 5, "events": [{event}]}}]}}"#),
                "scenes[0].events[0]: must lie within its scene, got 1 to 9",
            ),
            (
                r#"{"scenes": [{"start": 0, "end": 5, "events": [{"start": 1}]}]}"#,
                "missing field `end`",
            ),
        ] {
            std::fs::write(&file, text).unwrap();
            let error = Labels::load(&file).unwrap_err().to_string();
            assert!(
                error.contains(expected) && error.contains("labels.json"),
                "{error}"
            );
        }
    }
}

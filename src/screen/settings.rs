//! `[ocr]` of `watchtower.toml`: CPU that reading may take, and the languages to
//! read.

use std::thread::available_parallelism;

use watchtower_base::config::section::Section;

/// Maximum number of readings at a time: each may take 480 MB for a dense new screen.
const MOST_READERS: usize = 8;

/// Languages that the models of the project know.
pub(crate) const LATIN: &str = "latin";
pub(crate) const CHINESE: &str = "chinese";
pub(crate) const JAPANESE: &str = "japanese";
/// Name of the model for the last two, which is no language.
pub(crate) const MULTI: &str = "multi";
/// Maximum languages, and letters of the name of one: each line in another
/// alphabet is read by every model until one knows it.
const MOST_LANGUAGES: usize = 8;
const LONGEST_NAME: usize = 32;

/// `[ocr]`
#[derive(Debug, Clone, PartialEq)]
pub struct OcrSettings {
    /// Share of the machine, all its cores, that reading the screen may take,
    /// averaged.
    pub cpu_budget: f64,
    /// Languages to read; empty: by what is on the screen.
    pub languages: Vec<String>,
}

impl OcrSettings {
    /// Cores that reading may take on this machine, averaged.
    pub fn cores(&self) -> f64 {
        self.cpu_budget * machine_cores() as f64
    }

    /// Streams that are read at once on this machine: twice the average, so that
    /// streams which change together after a rest are read together, up to all
    /// of its cores.
    pub fn readers(&self) -> usize {
        readers(self.cpu_budget, machine_cores())
    }
}

/// Cores this process may use, by affinity and control group.
fn machine_cores() -> usize {
    available_parallelism().map_or(1, usize::from)
}

fn readers(share: f64, cores: usize) -> usize {
    let twice = (2.0 * share * cores as f64).ceil() as usize;
    twice.clamp(1, cores.clamp(1, MOST_READERS))
}

pub fn ocr(mut s: Section<'_>) -> OcrSettings {
    let settings = OcrSettings {
        cpu_budget: s.number("cpu_budget", 0.05, 1.0).unwrap_or(0.5),
        languages: languages(&mut s),
    };
    s.finish();
    settings
}

/// Names that can be languages; of those without a model the loading tells.
fn languages(s: &mut Section<'_>) -> Vec<String> {
    let names = s.texts("languages").unwrap_or_default();
    if names.len() > MOST_LANGUAGES {
        let count = names.len();
        s.fault(
            "languages",
            format!("must be at most {MOST_LANGUAGES} languages, got {count}"),
        );
    }
    for name in &names {
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        let is_name = (1..=LONGEST_NAME).contains(&name.len()) && name.chars().all(plain);
        if !is_name || name == MULTI {
            s.fault("languages", format!(
                "{name:?} is no language; expected \"latin\", \"chinese\", \"japanese\", or the NAME of a model rec-NAME.onnx (lower-case letters, digits and hyphens, at most {LONGEST_NAME})"
            ));
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;
    use watchtower_base::config::fault::Faults;
    use watchtower_base::config::section::parse_table;

    fn parsed(text: &str) -> Result<OcrSettings, String> {
        let mut faults = Faults::new("watchtower.toml");
        let table = parse_table(text, "watchtower.toml").expect("valid TOML");
        let settings = ocr(Section::new(table, "ocr", &mut faults));
        match faults.is_empty() {
            true => Ok(settings),
            false => Err(faults.to_string()),
        }
    }

    #[test]
    fn languages_are_names_and_none_means_what_is_on_the_screen() {
        assert_eq!(parsed("").unwrap().languages, [] as [&str; 0]);
        let some = parsed("languages = [\"japanese\", \"cyrillic-2\"]").unwrap();
        assert_eq!(some.languages, ["japanese", "cyrillic-2"]);
        for wrong in ["Japanese", "../etc/x", "multi", "", &"x".repeat(33)] {
            let told = parsed(&format!("languages = [\"{wrong}\"]")).unwrap_err();
            assert!(told.contains(&format!("{wrong:?}")), "{told}");
            assert!(
                told.contains("\"latin\", \"chinese\", \"japanese\""),
                "{told}"
            );
        }
        let many = format!("languages = [{}]", "\"latin\", ".repeat(9));
        assert!(parsed(&many).unwrap_err().contains("at most 8"));
    }

    #[test]
    fn readers_are_as_many_as_the_share_keeps_at_work_and_no_more_than_cores() {
        assert_eq!(readers(0.5, 1), 1);
        assert_eq!(readers(0.5, 2), 2);
        assert_eq!(readers(1.0, 2), 2);
        assert_eq!(readers(0.05, 2), 1);
        assert_eq!(readers(0.25, 4), 2);
        assert_eq!(readers(0.5, 64), MOST_READERS);
    }
}

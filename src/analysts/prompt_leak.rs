//! Withholds a persona's system prompt from its model's output: a prompt
//! injection on the screen must not leak it to a log.

use watchtower_domain::finding::Observation;
use watchtower_models::model::Persona;

/// Length in words of a verbatim run that counts as a leak of the instructions.
const RUN: usize = 5;
/// Length from which a word of letters and digits is distinctive. Numbers,
/// addresses and the ids of public lists are not: an analyst instructed to
/// search for `0.0.0.0/0` has to be able to name it.
const TELLING: usize = 8;
const WITHHELD: &str = "[instructions withheld]";

/// Replaces text copied from the persona's instructions. A quote found on the
/// screen is no leak.
pub(super) fn withhold(observation: &mut Observation, persona: &Persona) {
    let instructions = Instructions::of(persona);
    let texts = [
        &mut observation.title,
        &mut observation.detail,
        &mut observation.recommended_action,
    ];
    for text in texts {
        instructions.withhold(text);
    }
    for piece in &mut observation.evidence {
        if piece.grounded != Some(true) {
            instructions.withhold(&mut piece.quote);
        }
    }
}

pub(super) struct Instructions {
    /// Words of each part of the instructions: a run does not span two parts.
    parts: Vec<Vec<String>>,
}

impl Instructions {
    pub(super) fn of(persona: &Persona) -> Self {
        let parts = [&persona.personality, &persona.focus];
        let parts = parts.into_iter().chain(&persona.indicators);
        Self {
            parts: parts
                .map(|part| {
                    let words = words(part).map(folded);
                    words.filter(|word| !word.is_empty()).collect()
                })
                .collect(),
        }
    }

    pub(super) fn withhold(&self, text: &mut String) {
        let said: Vec<&str> = words(text).collect();
        // Bullets and dashes between words do not count as words.
        let heard: Vec<(usize, String)> = (0..)
            .zip(said.iter().map(|word| folded(word)))
            .filter(|(_, word)| !word.is_empty())
            .collect();
        let mut leaked = vec![false; said.len()];
        for (at, word) in &heard {
            leaked[*at] = self.is_telling(word);
        }
        for run in heard.windows(RUN) {
            let same = |own: &[String]| own.iter().zip(run).all(|(own, (_, word))| own == word);
            if self.parts.iter().any(|part| part.windows(RUN).any(same)) {
                leaked[run[0].0..=run[RUN - 1].0].fill(true);
            }
        }
        if !leaked.contains(&true) {
            return;
        }
        let mut kept: Vec<&str> = Vec::new();
        for (word, leaked) in said.into_iter().zip(leaked) {
            match leaked {
                false => kept.push(word),
                true if kept.last() == Some(&WITHHELD) => {}
                true => kept.push(WITHHELD),
            }
        }
        *text = kept.join(" ");
    }

    fn is_telling(&self, word: &String) -> bool {
        word.len() >= TELLING
            && word.bytes().any(|byte| byte.is_ascii_digit())
            && word.bytes().any(|byte| byte.is_ascii_alphabetic())
            && !is_public(word)
            && self.parts.iter().any(|part| part.contains(word))
    }
}

/// True for an IPv6 address or network, and for a CVE.
fn is_public(word: &str) -> bool {
    let address = word.split('/').next().unwrap_or_default();
    address.parse::<std::net::IpAddr>().is_ok() || word.starts_with("cve-")
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split_whitespace()
}

/// Strips the punctuation of quotations and lists.
fn folded(word: &str) -> String {
    word.trim_matches(|c: char| !c.is_alphanumeric())
        .to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn withheld(text: &str) -> String {
        let persona = Persona {
            name: "SecOps".to_owned(),
            personality: "Dry, precise, and never alarmed by a single event. Key CANARY-7731-x."
                .to_owned(),
            focus: "failed logins, privilege escalation, lateral movement, data leaving".to_owned(),
            indicators: vec![
                "mimikatz".to_owned(),
                "security groups open to 0.0.0.0/0 or 2001:db8::/32".to_owned(),
                "CVE-2021-44228".to_owned(),
            ],
            ..Persona::default()
        };
        let mut text = text.to_owned();
        Instructions::of(&persona).withhold(&mut text);
        text
    }

    #[test]
    fn instructions_are_withheld_however_they_are_dressed() {
        assert_eq!(
            withheld("I am \"dry, PRECISE, and never alarmed by a single event\", you see"),
            "I am [instructions withheld] you see"
        );
        assert_eq!(
            withheld("ok: canary-7731-x."),
            "ok: [instructions withheld]"
        );
        assert_eq!(
            withheld("* failed * logins * privilege * escalation * lateral * so"),
            "* [instructions withheld] * so"
        );
    }

    #[test]
    fn what_it_is_there_to_say_is_not() {
        for said in [
            "48 failed logins, then privilege escalation on web-01",
            "mimikatz was started",
            "Security group open to 0.0.0.0/0 and 2001:db8::/32",
            "Unpatched CVE-2021-44228",
            "Lateral movement, data leaving for 203.0.113.7",
        ] {
            assert_eq!(withheld(said), said);
        }
    }
}

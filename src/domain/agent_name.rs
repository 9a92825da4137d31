//! Names of analysts, and of the logs named after them.

/// Name of an agent's log: `<agent in lower case>.log`
pub fn log_name(agent: &str) -> String {
    format!("{}.log", agent.to_lowercase())
}

/// True for a name that is safe as a log file, a metric's label and a tmux
/// pane.
pub fn is_agent_name(name: &str) -> bool {
    (1..=32).contains(&name.len())
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_safe_for_files_labels_and_panes() {
        for good in ["SecOps", "a", "team_2-b", &"x".repeat(32)] {
            assert!(is_agent_name(good), "{good}");
        }
        for bad in ["", "a b", "../secops", "naïve", "a.b", &"x".repeat(33)] {
            assert!(!is_agent_name(bad), "{bad}");
        }
        assert_eq!(log_name("SecOps"), "secops.log");
    }
}

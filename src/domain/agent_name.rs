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

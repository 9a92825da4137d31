//! `watchtower tail`: the analysts' logs in a terminal, a line a finding.

mod entry;
mod filter;
mod follow;
mod line;

use std::collections::BTreeMap;
use std::io::{self, IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anstream::AutoStream;
use anyhow::Context as _;

use watchtower_domain::agent_name::log_name;

use crate::cli::TailArgs;
use entry::{EntryReader, LogEntry};
use filter::EntryFilter;
use follow::LogFollower;
use line::LineStyle;

/// Interval of looking for new lines: short beside the seconds that a finding
/// takes, and a `stat` for each log.
const LOOK: Duration = Duration::from_millis(200);
/// Entries shown at first, about the height of a terminal.
const EARLIER: usize = 40;

/// Prints the entries of the logs, and follows them. It ends when interrupted,
/// or when nobody reads its output any more.
pub(crate) fn run(args: &TailArgs) -> anyhow::Result<ExitCode> {
    let stdout = io::stdout();
    let terminal = stdout.is_terminal();
    let colours = match args.color {
        clap::ColorChoice::Auto => AutoStream::choice(&stdout),
        clap::ColorChoice::Always => anstream::ColorChoice::Always,
        clap::ColorChoice::Never => anstream::ColorChoice::Never,
    };
    let mut out = AutoStream::new(stdout.lock(), colours);
    let mut logs = Logs::new(args);
    let style = |width| LineStyle {
        width,
        named: args.analyst.is_none(),
        details: args.details,
    };
    let most = args
        .lines
        .or_else(|| args.since.is_none().then_some(EARLIER))
        .unwrap_or(usize::MAX);
    let mut entries = logs.read()?;
    entries.sort_by_key(|(_, entry)| entry.at);
    let skipped = entries.len().saturating_sub(most);
    entries.drain(..skipped);
    if entries.is_empty() && terminal && !args.no_follow {
        notice(&mut out, &logs.waiting(args))?;
    }
    loop {
        let style = style(terminal.then(width).flatten());
        for (analyst, entry) in &entries {
            match out.write_all(style.text(analyst, entry).as_bytes()) {
                Ok(()) => {}
                // `watchtower tail | head` is done.
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                    return Ok(ExitCode::SUCCESS);
                }
                Err(error) => return Err(error).context("failed to write to standard output"),
            }
        }
        out.flush().ok();
        if args.no_follow {
            return Ok(ExitCode::SUCCESS);
        }
        std::thread::sleep(LOOK);
        entries = logs.read()?;
    }
}

fn notice(out: &mut impl io::Write, text: &str) -> io::Result<()> {
    let dim = anstyle::Style::new().dimmed();
    writeln!(out, "{dim}{text}{dim:#}")?;
    out.flush()
}

/// Logs that are followed: the one of an analyst, or all of a folder.
#[derive(Debug)]
struct Logs {
    folder: PathBuf,
    one: Option<String>,
    /// By name without the ending.
    all: BTreeMap<String, (LogFollower, EntryReader)>,
    filter: EntryFilter,
    since: Option<jiff::Timestamp>,
    began: bool,
}

impl Logs {
    fn new(args: &TailArgs) -> Self {
        Self {
            folder: args.logs.clone(),
            one: args.analyst.clone(),
            all: BTreeMap::new(),
            filter: EntryFilter::new(args.severity, args.stream.clone(), args.since),
            since: args.since,
            began: false,
        }
    }

    /// Entries since the last call that pass the filter, each with the name of
    /// its log.
    fn read(&mut self) -> anyhow::Result<Vec<(String, LogEntry)>> {
        self.discover()?;
        let mut found = Vec::new();
        for (name, (follower, reader)) in &mut self.all {
            let path = follower.path().to_owned();
            let mut keep = |entry: LogEntry| {
                if self.filter.passes(&entry) {
                    found.push((name.clone(), entry));
                }
            };
            loop {
                let lines = follower
                    .read()
                    .with_context(|| format!("failed to read {}", path.display()))?;
                if lines.is_empty() {
                    break;
                }
                for line in &lines {
                    reader.line(line).into_iter().for_each(&mut keep);
                }
            }
            // The server writes a block at once.
            reader.end().into_iter().for_each(&mut keep);
        }
        self.began = true;
        Ok(found)
    }

    /// Begins to follow logs that are new. Those that appear while others are
    /// followed are read from their start.
    fn discover(&mut self) -> anyhow::Result<()> {
        let files = match &self.one {
            Some(analyst) => vec![self.folder.join(log_name(analyst))],
            None => logs_in(&self.folder)
                .with_context(|| format!("failed to read {}", self.folder.display()))?,
        };
        for file in files {
            let stem = file.file_stem().and_then(|name| name.to_str());
            let Some(name) = self.one.as_deref().or(stem) else {
                continue;
            };
            if self.all.contains_key(name) {
                continue;
            }
            let follower = LogFollower::new(&file, self.since, self.began)
                .with_context(|| format!("failed to read {}", file.display()))?;
            let log = (follower, EntryReader::default());
            self.all.insert(name.to_owned(), log);
        }
        Ok(())
    }

    /// Reason for an empty screen, and what is there.
    fn waiting(&self, args: &TailArgs) -> String {
        let Some(analyst) = &args.analyst else {
            return format!("no findings in {} yet", self.folder.display());
        };
        let file = self.folder.join(log_name(analyst));
        if file.exists() {
            return "no findings yet".to_owned();
        }
        let others: Vec<_> = logs_in(&self.folder).unwrap_or_default();
        let others: Vec<_> = (others.iter())
            .filter_map(|file| file.file_stem()?.to_str())
            .collect();
        let there = match others.as_slice() {
            [] => String::new(),
            others => format!("; logs there: {}", others.join(", ")),
        };
        format!("waiting for {}{there}", file.display())
    }
}

/// Logs of analysts in a folder, which may be absent.
fn logs_in(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = match std::fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let files = entries.flatten().map(|entry| entry.path());
    let mut logs: Vec<_> = files
        .filter(|file| file.extension().is_some_and(|ending| ending == "log"))
        .collect();
    logs.sort();
    Ok(logs)
}

/// Width of the terminal in columns.
fn width() -> Option<usize> {
    let mut size = libc::winsize {
        ws_row: 0,
        ws_col: 0,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    // SAFETY: the request writes one `winsize`, which lives until after the call.
    let asked = unsafe { libc::ioctl(libc::STDOUT_FILENO, libc::TIOCGWINSZ, &mut size) };
    (asked == 0 && size.ws_col > 0).then(|| usize::from(size.ws_col))
}

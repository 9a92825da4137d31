//! A recording played through the house faster than real time: decoder, gate,
//! reader, agents, store, in step, so that the same recording says the same
//! twice.

use crate::app::cli::ReplaySettings;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use jiff::{SignedDuration, Timestamp};
use tokio::sync::{broadcast, mpsc};

use crate::analysts::settings::{AgentConfig, Priority};
use crate::analysts::{Agent, Meeting, Member, Mind, Policy, Thinker};
use crate::app::build_agents;
use crate::app::config::Config;
use crate::app::eval::{Labels, Seen, Sent, score};
use crate::base::stream_name::StreamName;
use crate::codec;
use crate::domain::agent_status::Roster;
use crate::domain::finding::Finding;
use crate::domain::metrics::Metrics;
use crate::media::MediaTime;
use crate::models::cassette::{Cassette, Recording, Tape};
use crate::models::model::Model;
use crate::models::token_counter::Gauge;
use crate::record::FindingsBus;
use crate::record::store::IncidentQuery;
use crate::screen::frames::FrameBus;
use crate::screen::picture::Picture;

/// Pictures decoded ahead.
const AHEAD: usize = 4;
/// The stream's name, as recordings have none.
const STREAM: &str = "replay";
const MOST_INCIDENTS: usize = 1000;

/// Everything a run came to.
struct Run {
    seen: Vec<Seen>,
    length: Duration,
    pictures: u64,
    incidents: u64,
    metrics: Arc<Metrics>,
    roster: Roster,
    gauges: Vec<(AgentConfig, Arc<Gauge>)>,
}

/// Prints each finding as it is made.
pub(super) async fn replay(config: Config, settings: ReplaySettings) -> anyhow::Result<()> {
    let print = |seen: &Seen| {
        println!(
            "{:>8.1} s  {}",
            seen.seconds,
            crate::app::print::line(&seen.finding)
        );
    };
    let run = run(&config, &settings, print).await?;
    println!(
        "{:.1} s, {} frames, {} OCR runs, {} with changes: {} findings in {} incidents",
        run.length.as_secs_f64(),
        run.pictures,
        run.metrics.ocr_frames.get(),
        run.metrics.ocr_news.get(),
        run.seen.len(),
        run.incidents
    );
    Ok(())
}

/// Prints the marks, and writes them as JSON where that is wanted.
pub(super) async fn eval(
    config: Config,
    settings: ReplaySettings,
    labels: &Path,
    json: Option<&Path>,
    every: Duration,
) -> anyhow::Result<()> {
    let labels = Labels::load(labels)?;
    let run = run(&config, &settings, |_| {}).await?;
    let names: Vec<_> = config
        .panel
        .enabled()
        .map(|agent| agent.name().to_owned())
        .collect();
    let mut scores = score(&labels, &run.seen, &names);
    scores.seconds = run.length.as_secs_f64();
    scores.interval_seconds = every.as_secs_f64();
    scores.incidents = run.incidents;
    scores.pictures = run.pictures;
    scores.readings = run.metrics.ocr_frames.get();
    scores.news = run.metrics.ocr_news.get();
    let at_intervals = (run.length.as_secs_f64() / every.as_secs_f64()).ceil() as u64;
    let statuses = run.roster.agents();
    for (marks, (agent, gauge)) in scores.agents.iter_mut().zip(&run.gauges) {
        let (frames, tokens) = gauge.read();
        marks.sent = Sent {
            frames,
            tokens,
            frames_at_intervals: at_intervals,
            tokens_at_intervals: at_intervals * crate::models::prompt::least_tokens(&agent.persona),
        };
        if let Some(status) = statuses.iter().find(|status| status.name == agent.name()) {
            marks.looks = status.looks;
        }
        let all = &mut scores.all;
        all.sent.frames += frames;
        all.sent.tokens += tokens;
        all.sent.frames_at_intervals += marks.sent.frames_at_intervals;
        all.sent.tokens_at_intervals += marks.sent.tokens_at_intervals;
        all.looks += marks.looks;
    }
    print!("{scores}");
    if let Some(file) = json {
        let text = serde_json::to_string_pretty(&scores)?;
        std::fs::write(file, text + "\n")
            .with_context(|| format!("failed to write {}", file.display()))?;
    }
    Ok(())
}

async fn run(
    config: &Config,
    settings: &ReplaySettings,
    mut tell: impl FnMut(&Seen),
) -> anyhow::Result<Run> {
    let kept = Kept::open(settings.out.as_deref())?;
    let metrics = Arc::new(Metrics::new());
    let frames = FrameBus::new();
    let (members, roster, budget) = build_agents::build(config)?;
    let members = on_tape(members, settings)?;
    let names: Vec<_> = members
        .iter()
        .map(|member| member.config.name().to_owned())
        .collect();
    let (findings, writer) = FindingsBus::open(
        &kept.folder.join("data"),
        &kept.folder.join("logs"),
        &names,
        &config.settings.store,
    )?;
    let mut reader = build_agents::reader(config, &frames, Some(findings.clone()), &metrics)?;
    let meeting = Meeting {
        frames: frames.clone(),
        findings: findings.clone(),
        roster: roster.clone(),
        metrics: Arc::clone(&metrics),
        budget,
    };
    let mut heard = findings.subscribe();
    let mut run = Run {
        seen: Vec::new(),
        length: Duration::ZERO,
        pictures: 0,
        incidents: 0,
        metrics,
        roster,
        gauges: Vec::new(),
    };
    let mut players = Vec::new();
    for member in members {
        // Beside each agent one that only counts what a hosted model is sent.
        let gauge = Arc::new(Gauge::default());
        run.gauges.push((member.config.clone(), Arc::clone(&gauge)));
        players.push(Player::new(
            gauged(&member, gauge, config),
            counted(&meeting),
        ));
        players.push(Player::new(member, meeting.clone()));
    }
    drop(meeting);

    let stream = StreamName::new(STREAM)?;
    let mut publisher = frames.open(&stream, codec::encode_jpeg);
    let (film, mut pictures) = film(settings.file.clone(), config.panel.fastest() / 2);
    while let Some((picture, pts)) = pictures.recv().await {
        let at = codec::RECORDED_AT + SignedDuration::from_millis(pts.ms());
        run.pictures += 1;
        publisher.publish(picture, pts, at);
        if let Some(reader) = &mut reader {
            while reader.read_next().await {}
        }
        for player in &mut players {
            player.look(at).await;
        }
        take(&mut heard, &mut run.seen, &mut tell);
    }
    run.length = film.await.context("the decoder failed")??;
    let incidents = findings.incidents(IncidentQuery {
        limit: MOST_INCIDENTS,
        ..IncidentQuery::default()
    });
    run.incidents = incidents.await?.items.len() as u64;
    drop((publisher, players, reader, findings));
    let _ = tokio::task::spawn_blocking(|| writer.join()).await;
    Ok(run)
}

/// The folder logs and store go to, removed again when nobody asked for it.
struct Kept {
    folder: PathBuf,
    temporary: bool,
}

impl Kept {
    fn open(out: Option<&Path>) -> anyhow::Result<Self> {
        let folder = match out {
            Some(out) => out.to_owned(),
            None => {
                std::env::temp_dir().join(format!("watchtower-replay-{}", uuid::Uuid::now_v7()))
            }
        };
        std::fs::create_dir_all(&folder)
            .with_context(|| format!("failed to create {}", folder.display()))?;
        Ok(Self {
            folder,
            temporary: out.is_none(),
        })
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        if self.temporary {
            // What is left lies in the system's folder for such things.
            let _ = std::fs::remove_dir_all(&self.folder);
        }
    }
}

/// Models from or onto a cassette, where that is wanted.
fn on_tape(mut members: Vec<Member>, settings: &ReplaySettings) -> anyhow::Result<Vec<Member>> {
    if let Some(file) = &settings.cassette {
        let cassette: Arc<dyn Model> = Arc::new(Cassette::open(file)?);
        for member in &mut members {
            let policy = member.mind.first().policy.clone();
            member.mind = alone(Arc::clone(&cassette), policy);
        }
    }
    if let Some(file) = &settings.record {
        let tape = Arc::new(Tape::create(file)?);
        for member in &mut members {
            let Thinker {
                model,
                governor,
                policy,
            } = member.mind.first().clone();
            let thinker = Thinker {
                model: Arc::new(Recording::new(model, Arc::clone(&tape))),
                governor,
                policy,
            };
            member.mind = Mind::new(thinker, Vec::new(), member.config.priority);
        }
    }
    Ok(members)
}

fn gauged(member: &Member, gauge: Arc<Gauge>, config: &Config) -> Member {
    let policy = Policy {
        redact: config.panel.model.redact,
        ..member.mind.first().policy.clone()
    };
    Member {
        config: member.config.clone(),
        mind: alone(gauge, policy),
    }
}

fn alone(model: Arc<dyn Model>, policy: Policy) -> Mind {
    let thinker = Thinker {
        model,
        governor: None,
        policy,
    };
    Mind::new(thinker, Vec::new(), Priority::Normal)
}

/// The same meeting, without being noted there.
fn counted(meeting: &Meeting) -> Meeting {
    Meeting {
        roster: Roster::new(Vec::new()),
        metrics: Arc::new(Metrics::new()),
        ..meeting.clone()
    }
}

/// An agent that looks by the recording's time.
struct Player {
    agent: Agent,
    interval: SignedDuration,
    due: Timestamp,
}

impl Player {
    fn new(member: Member, meeting: Meeting) -> Self {
        Self {
            interval: SignedDuration::try_from(member.config.interval)
                .unwrap_or(SignedDuration::MAX),
            agent: Agent::new(member, meeting),
            due: Timestamp::MIN,
        }
    }

    async fn look(&mut self, now: Timestamp) {
        if now >= self.due && self.agent.look().await {
            self.due = now.saturating_add(self.interval).unwrap_or(Timestamp::MAX);
        }
    }
}

type Film = tokio::task::JoinHandle<Result<Duration, codec::FilmError>>;

/// Decodes on a thread of its own, a few pictures ahead.
fn film(file: PathBuf, period: Duration) -> (Film, mpsc::Receiver<(Picture, MediaTime)>) {
    let (sender, pictures) = mpsc::channel(AHEAD);
    let film = tokio::task::spawn_blocking(move || {
        codec::pictures(&file, period, |picture, at| {
            sender.blocking_send((picture, at)).is_ok()
        })
    });
    (film, pictures)
}

fn take(
    heard: &mut broadcast::Receiver<Arc<Finding>>,
    seen: &mut Vec<Seen>,
    tell: &mut impl FnMut(&Seen),
) {
    // Looked after at every picture: never so many that some are lost.
    while let Ok(finding) = heard.try_recv() {
        let at = finding.observed_at.duration_since(codec::RECORDED_AT);
        let new = Seen {
            seconds: at.as_secs_f64(),
            finding: Finding::clone(&finding),
        };
        tell(&new);
        seen.push(new);
    }
}

//! Replay of a recording faster than real time: decoder, change gate, OCR,
//! agents and store in lockstep, so that two runs have the same result.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use jiff::{SignedDuration, Timestamp};
use tokio::sync::{broadcast, mpsc, watch};

use watchtower_analysts::series::SeriesRecorder;
use watchtower_analysts::settings::{AgentConfig, Priority};
use watchtower_analysts::{
    Agent, AgentContext, AgentSet, AgentSpec, ChainLink, ModelChain, Policy,
};
use watchtower_base::stream_name::StreamName;
use watchtower_base::text::counted;
use watchtower_codec as codec;
use watchtower_domain::agent_status::AgentBoard;
use watchtower_domain::finding::Finding;
use watchtower_media::MediaTime;
use watchtower_media::audio_bus::AudioBus;
use watchtower_models::cassette::{Cassette, Recording, RecordingFile};
use watchtower_models::model::{FramePolicy, Model};
use watchtower_models::token_counter::TokenCounter;
use watchtower_record::Record;
use watchtower_record::store::IncidentQuery;
use watchtower_screen::frames::FrameBus;
use watchtower_screen::metrics::ScreenMetrics;
use watchtower_screen::picture::Picture;

use crate::build_agents;
use crate::cli::ReplaySettings;
use crate::config::Config;
use crate::eval::{Labels, Latency, ModelInput, TimedFinding, score};

/// Maximum frames decoded ahead.
const AHEAD: usize = 4;
/// Stream name, as recordings have none.
const STREAM: &str = "replay";
const MOST_INCIDENTS: usize = 1000;

/// Results of a run.
struct ReplayResult {
    seen: Vec<TimedFinding>,
    length: Duration,
    pictures: u64,
    incidents: u64,
    metrics: Arc<ScreenMetrics>,
    board: AgentBoard,
    counters: Vec<(AgentConfig, Arc<TokenCounter>, Arc<TokenCounter>)>,
    /// Latency of each finding from its frame on: OCR and scans, one after
    /// another.
    latencies: Vec<Duration>,
}

/// Prints each finding as it is made.
pub(super) async fn replay(config: Config, settings: ReplaySettings) -> anyhow::Result<()> {
    let print = |seen: &TimedFinding| {
        println!(
            "{:>8.1} s  {}",
            seen.seconds,
            crate::print::line(&seen.finding)
        );
    };
    let run = run(&config, &settings, print).await?;
    println!(
        "{:.1} s, {}, {}, {} with changes: {} in {}",
        run.length.as_secs_f64(),
        counted(run.pictures, "frame"),
        counted(run.metrics.ocr_frames.get(), "OCR run"),
        run.metrics.ocr_news.get(),
        counted(run.seen.len(), "finding"),
        counted(run.incidents, "incident")
    );
    Ok(())
}

/// Prints the metrics, and writes them as JSON if requested.
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
    let statuses = run.board.agents();
    let counters = scores.agents.iter_mut().zip(&run.counters);
    for (marks, (agent, structured, plain)) in counters {
        let (frames, tokens_structured) = structured.read();
        let (_, tokens_plain) = plain.read();
        let tokens = match settings.plain_text {
            true => tokens_plain,
            false => tokens_structured,
        };
        marks.sent = ModelInput {
            frames,
            tokens,
            tokens_structured,
            tokens_plain,
            frames_at_intervals: at_intervals,
            tokens_at_intervals: at_intervals
                * watchtower_models::prompt::least_tokens(&agent.persona),
        };
        if let Some(status) = statuses.iter().find(|status| status.name == agent.name()) {
            marks.looks = status.looks;
        }
        let all = &mut scores.all;
        all.sent.frames += frames;
        all.sent.tokens += tokens;
        all.sent.tokens_structured += tokens_structured;
        all.sent.tokens_plain += tokens_plain;
        all.sent.frames_at_intervals += marks.sent.frames_at_intervals;
        all.sent.tokens_at_intervals += marks.sent.tokens_at_intervals;
        all.looks += marks.looks;
    }
    print!("{scores}");
    // Not part of the scores, which are the same in every run.
    if let Some(latency) = Latency::of(run.latencies) {
        eprintln!("{latency}");
    }
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
    mut on_finding: impl FnMut(&TimedFinding),
) -> anyhow::Result<ReplayResult> {
    let kept = ReplayFolder::open(settings.out.as_deref())?;
    let metrics = Arc::new(ScreenMetrics::default());
    let frames = FrameBus::new();
    let (members, board, budget) = build_agents::build(config)?;
    let mut members = on_tape(members, settings)?;
    for member in &mut members {
        member.config.plain_text = settings.plain_text;
    }
    let names: Vec<_> = members
        .iter()
        .map(|member| member.config.name().to_owned())
        .collect();
    let (findings, writer) = Record::open(
        &kept.folder.join("data"),
        &kept.folder.join("logs"),
        &names,
        &config.settings.store,
    )?;
    let mut reader = build_agents::reader(config, &frames, Some(findings.clone()), &metrics)?;
    let context = AgentContext {
        frames: frames.clone(),
        findings: findings.clone(),
        board: board.clone(),
        metrics: Arc::default(),
        budget,
        audio: AudioBus::default(),
    };
    let mut receiver = findings.subscribe();
    let mut run = ReplayResult {
        seen: Vec::new(),
        length: Duration::ZERO,
        pictures: 0,
        incidents: 0,
        metrics,
        board,
        counters: Vec::new(),
        latencies: Vec::new(),
    };
    let mut series = reader
        .is_some()
        .then(|| series_recorder(config, &members, &context));
    if let Some(series) = &mut series {
        series.begin().await;
    }
    let mut players = Vec::new();
    for member in members {
        // Each analyst gets two more that only count the tokens of a hosted
        // model: of text with its structure, and without.
        let counters = [false, true].map(|plain_text| {
            let counter = Arc::new(TokenCounter::default());
            let gauged = gauged(&member, Arc::clone(&counter), plain_text, config);
            players.push(ReplayAgent {
                gauges: true,
                ..ReplayAgent::new(gauged, with_own_counters(&context))
            });
            counter
        });
        let [structured, plain] = counters;
        run.counters
            .push((member.config.clone(), structured, plain));
        players.push(ReplayAgent::new(member, context.clone()));
    }
    drop(context);

    let stream = StreamName::new(STREAM)?;
    let mut publisher = frames.open(&stream, codec::encode_jpeg);
    let (film, mut pictures) = film(
        settings.file.clone(),
        config.panel.frame_demand().interval / 2,
    );
    while let Some((picture, pts)) = pictures.recv().await {
        let at = codec::RECORDED_AT + SignedDuration::from_millis(pts.ms());
        run.pictures += 1;
        let begun = Instant::now();
        publisher.publish(picture, pts, at);
        if let Some(reader) = &mut reader {
            while reader.read_next().await {}
        }
        let mut spent = begun.elapsed();
        if let Some(series) = &mut series {
            let begun = Instant::now();
            series.turn(at).await;
            run.take(&mut receiver, spent + begun.elapsed(), &mut on_finding);
        }
        for player in &mut players {
            let begun = Instant::now();
            player.look(at).await;
            if player.gauges {
                continue;
            }
            spent += begun.elapsed();
            run.take(&mut receiver, spent, &mut on_finding);
        }
    }
    run.length = film.await.context("the decoder failed")??;
    if let Some(series) = &mut series {
        let end = SignedDuration::try_from(run.length).unwrap_or_default();
        series.finish(codec::RECORDED_AT + end).await;
    }
    let query = IncidentQuery {
        limit: MOST_INCIDENTS,
        ..IncidentQuery::default()
    };
    let incidents = findings.read(move |store| store.incidents(&query));
    run.incidents = incidents.await?.items.len() as u64;
    drop((publisher, players, reader, series, findings));
    let _ = tokio::task::spawn_blocking(|| writer.join()).await;
    Ok(run)
}

/// Output folder of logs and store; a temporary one, removed at the end, unless
/// given.
struct ReplayFolder {
    folder: PathBuf,
    temporary: bool,
}

impl ReplayFolder {
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

impl Drop for ReplayFolder {
    fn drop(&mut self) {
        if self.temporary {
            // A leftover is in the system's temporary folder.
            let _ = std::fs::remove_dir_all(&self.folder);
        }
    }
}

/// Factory of models, replayed from or recorded to a cassette if requested.
fn on_tape(
    mut members: Vec<AgentSpec>,
    settings: &ReplaySettings,
) -> anyhow::Result<Vec<AgentSpec>> {
    if let Some(file) = &settings.cassette {
        let cassette = Cassette::open(file)?;
        for member in &mut members {
            let policy = member.chain.first().policy.clone();
            let recorded = cassette.of_agent(member.config.name());
            member.chain = alone(Arc::new(recorded), policy);
        }
    }
    if let Some(file) = &settings.record {
        let tape = Arc::new(RecordingFile::create(file)?);
        for member in &mut members {
            let ChainLink {
                model,
                governor,
                policy,
                hears,
            } = member.chain.first().clone();
            let link = ChainLink {
                model: Arc::new(Recording::new(model, Arc::clone(&tape))),
                governor,
                policy,
                hears,
            };
            member.chain = ModelChain::new(link, Vec::new(), member.config.priority);
        }
    }
    Ok(members)
}

fn gauged(
    member: &AgentSpec,
    counter: Arc<TokenCounter>,
    plain_text: bool,
    config: &Config,
) -> AgentSpec {
    let policy = Policy {
        redact: config.panel.model.redact,
        ..member.chain.first().policy.clone()
    };
    let config = AgentConfig {
        plain_text,
        ..member.config.clone()
    };
    AgentSpec {
        config,
        chain: alone(counter, policy),
    }
}

fn alone(model: Arc<dyn Model>, policy: Policy) -> ModelChain {
    let link = ChainLink {
        model,
        governor: None,
        policy,
        hears: false,
    };
    ModelChain::new(link, Vec::new(), Priority::Normal)
}

/// Copy of the context with a board and counters of its own.
fn with_own_counters(context: &AgentContext) -> AgentContext {
    AgentContext {
        board: AgentBoard::new(Vec::new()),
        metrics: Arc::default(),
        ..context.clone()
    }
}

/// Analyst that scans by the recording's time: rules every frame, others once
/// per interval.
struct ReplayAgent {
    agent: Agent,
    /// True if it only counts the input of a hosted model.
    gauges: bool,
    interval: SignedDuration,
    due: Timestamp,
}

impl ReplayAgent {
    fn new(member: AgentSpec, context: AgentContext) -> Self {
        let interval = match member.chain.first().model.frame_policy() {
            FramePolicy::Newest => member.config.interval,
            FramePolicy::EveryRead => Duration::ZERO,
        };
        Self {
            interval: SignedDuration::try_from(interval).unwrap_or(SignedDuration::MAX),
            gauges: false,
            agent: Agent::new(member, context),
            due: Timestamp::MIN,
        }
    }

    async fn look(&mut self, now: Timestamp) {
        if now >= self.due && self.agent.look().await {
            self.due = now.saturating_add(self.interval).unwrap_or(Timestamp::MAX);
        }
    }
}

type Film = tokio::task::JoinHandle<Result<Duration, codec::FileSourceError>>;

/// Decodes on a thread of its own, a few frames ahead.
fn film(file: PathBuf, period: Duration) -> (Film, mpsc::Receiver<(Picture, MediaTime)>) {
    let (sender, pictures) = mpsc::channel(AHEAD);
    let film = tokio::task::spawn_blocking(move || {
        codec::pictures(&file, period, |picture, at| {
            sender.blocking_send((picture, at)).is_ok()
        })
    });
    (film, pictures)
}

/// Recorder of the numbers on the screen, for the watches; it goes by the
/// recording's time.
fn series_recorder(
    config: &Config,
    members: &[AgentSpec],
    context: &AgentContext,
) -> SeriesRecorder {
    let panel = &config.panel;
    let agents = AgentSet {
        members: members.into(),
        panel: panel.exchange.clone(),
        ask_service: None,
        ask_language: panel.model.language.clone(),
        watches: panel.active_watches().cloned().collect(),
    };
    let redact = panel.model.redact.at_home(true);
    SeriesRecorder::new(context, watch::Sender::new(agents).subscribe(), redact)
}

impl ReplayResult {
    /// Takes the new findings, which took this long.
    fn take(
        &mut self,
        receiver: &mut broadcast::Receiver<Arc<Finding>>,
        spent: Duration,
        on_finding: &mut impl FnMut(&TimedFinding),
    ) {
        // Drained at every frame, so that the channel never overflows.
        while let Ok(finding) = receiver.try_recv() {
            let at = finding.observed_at.duration_since(codec::RECORDED_AT);
            let new = TimedFinding {
                seconds: at.as_secs_f64(),
                finding: Finding::clone(&finding),
            };
            on_finding(&new);
            self.seen.push(new);
            self.latencies.push(spent);
        }
    }
}

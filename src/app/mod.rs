//! Everything put together: [`App::bind`] opens, [`App::run`] supervises and
//! drains.
//!
//! The drain follows the flow. Sources are cancelled first (publishers, API
//! clients, agents); decoders end with their streams, the writer of findings
//! when the last who could publish is gone. What is not done after
//! [`DRAIN`] is left behind.

mod check;
mod decoders;
mod panel;
mod private;
mod reload;
mod remote;
mod replay;
mod sink_test;

pub use private::close_new_files;

use std::net::SocketAddr;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context as _, bail};
use jiff::{SignedDuration, Timestamp};
use rustix::process::{Resource, getrlimit, setrlimit};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::agents;
use crate::agents::{Clerk, Meeting, Staff};
use crate::av;
use crate::cli::{Command, PublishArgs, SinkCommand};
use crate::config::{AgentConfig, Config, Secret, Secrets, Transcode};
use crate::console::{Console, ConsoleSettings, Doors, Views};
use crate::deliveries::Deliveries;
use crate::finding::{Finding, WATCHTOWER, printable};
use crate::findings_bus::{FindingsBus, LogPlace};
use crate::frame_bus::FrameBus;
use crate::history::History;
use crate::metrics::Metrics;
use crate::roster::Roster;
use crate::rtmp;
use crate::sinks::Sinks;
use crate::stream_hub::StreamHub;
use crate::stream_hub::renditions::Renditions;
use crate::tls::Tls;
use crate::vision::Reader;
use crate::watchdog::Watchdog;
use crate::whep;
use panel::Hiring;
use reload::Reload;

pub use replay::ReplaySettings;

/// Ctrl-C to exit: 5 s at most, with a margin for what the runtime closes.
const DRAIN: Duration = Duration::from_secs(4);

/// Runs one command of the command line.
pub async fn execute(command: Command) -> anyhow::Result<ExitCode> {
    let secrets = Secrets::from_env();
    match command {
        Command::Serve(args) => {
            let config = Config::load(args.places.into(), secrets)?;
            private::warn_of_readers([&config.places.data, &config.places.logs]);
            let app = App::bind(config).await?;
            if let Some(file) = &args.ready_file {
                app.tell_ready(file)
                    .with_context(|| format!("failed to write {}", file.display()))?;
            }
            app.run(shutdown_signal()?).await?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Check(places) => Ok(check::run(places.into(), secrets).await),
        Command::Publish(args) => publish(args, secrets).await,
        Command::Replay(args) => {
            let config = Config::load(args.look.places(), secrets)?;
            replay::replay(config, args.look.into()).await?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Eval(args) => {
            let config = Config::load(args.look.places(), secrets)?;
            let (labels, json) = (args.labels, args.json);
            replay::eval(
                config,
                args.look.into(),
                &labels,
                json.as_deref(),
                args.every,
            )
            .await?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Sink(SinkCommand::Test(args)) => Ok(sink_test::run(&args)?.await),
        Command::Agent(args) => {
            remote::run(args, secrets, shutdown_signal()?).await?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

async fn publish(args: PublishArgs, secrets: Secrets) -> anyhow::Result<ExitCode> {
    let stop = shutdown_signal()?;
    let key = secrets.stream_key.as_ref().map(Secret::expose);
    let report = av::publish(&args.file, &args.to, key, args.looping, &stop).await?;
    tracing::info!(
        seconds = report.played.as_secs(),
        loops = report.loops,
        bytes = report.bytes,
        "published"
    );
    Ok(ExitCode::SUCCESS)
}

/// Cancelled by the first SIGINT or SIGTERM; the second one exits at once.
fn shutdown_signal() -> anyhow::Result<CancellationToken> {
    let mut interrupt = signal(SignalKind::interrupt()).context("failed to listen for SIGINT")?;
    let mut terminate = signal(SignalKind::terminate()).context("failed to listen for SIGTERM")?;
    let token = CancellationToken::new();
    let cancelled = token.clone();
    tokio::spawn(async move {
        for _ in 0..2 {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            if cancelled.is_cancelled() {
                std::process::exit(130);
            }
            cancelled.cancel();
        }
    });
    Ok(token)
}

/// A server with all its doors open and nobody let in yet.
#[derive(Debug)]
pub struct App {
    config: Config,
    tls: Option<Tls>,
    rtmp: rtmp::Server,
    console: Console,
    gateway: whep::Gateway,
    renditions: Renditions,
    hub: StreamHub,
    frames: FrameBus,
    findings: FindingsBus,
    writer: JoinHandle<()>,
    hiring: Hiring,
    staff: watch::Sender<Staff>,
    roster: Roster,
    metrics: Arc<Metrics>,
    reader: Option<Reader>,
    sinks: Sinks,
    deliveries: Deliveries,
}

/// Where the server really listens, which differs from what was asked for
/// when that was port 0.
#[derive(Debug, Clone, Copy)]
pub struct Addresses {
    pub rtmp: SocketAddr,
    pub rtmps: Option<SocketAddr>,
    pub http: SocketAddr,
    pub webrtc: SocketAddr,
}

impl App {
    /// Opens everything, or says in one line what stands in the way.
    pub async fn bind(config: Config) -> anyhow::Result<Self> {
        allow_connections();
        let metrics = Arc::new(Metrics::new());
        let hub = StreamHub::holding();
        let frames = FrameBus::new();
        let (hiring, staff, roster) = Hiring::open(&config)?;
        let names: Vec<_> = config
            .panel
            .enabled()
            .map(AgentConfig::name)
            .chain([WATCHTOWER])
            .map(str::to_owned)
            .collect();
        let (findings, writer) = FindingsBus::open(
            &config.places.data,
            log_place(&config),
            &names,
            &config.settings.store,
        )?;
        // Of the day, and of the hour before it began.
        let since = Timestamp::now() - SignedDuration::from_hours(25);
        hiring.budget().recall(&findings.spent_since(since).await?);
        let deliveries = Deliveries::default();
        let sinks = Sinks::open(&config.settings.sinks, &findings, &deliveries, &metrics).await?;
        let reader = panel::reader(&config, &frames, Some(findings.clone()), &metrics)?;
        let tls = config.settings.tls.clone().map(Tls::open).transpose()?;
        let address = config.places.http;
        let console = Console::bind(ConsoleSettings {
            address,
            token: config.secrets.console_token.clone(),
            allowed_origins: config.settings.http.allowed_origins.clone(),
            tls: tls.as_ref().map(|tls| tls.acceptor(&["http/1.1"])),
            inbound_secret: config.secrets.inbound_secret.clone(),
        });
        let console = console
            .await
            .with_context(|| format!("failed to listen for HTTP on {address} (--http)"))?;
        let address = config.places.webrtc;
        let settings = whep::GatewaySettings {
            address,
            public_address: config.places.public_address.clone(),
            webrtc: config.settings.webrtc.clone(),
        };
        let renditions = Renditions::new();
        let gateway = whep::Gateway::bind(
            settings,
            hub.clone(),
            renditions.clone(),
            Arc::clone(&metrics),
        );
        let gateway = gateway
            .await
            .with_context(|| format!("failed to open {address} for WebRTC (--webrtc)"))?;
        let rtmp = rtmp::Server::bind(
            panel::rtmp_settings(&config, tls.as_ref()),
            hub.clone(),
            Arc::clone(&metrics),
        );
        let rtmp = rtmp.await?;
        Ok(Self {
            config,
            tls,
            rtmp,
            console,
            gateway,
            renditions,
            hub,
            frames,
            findings,
            writer,
            hiring,
            staff: watch::Sender::new(staff),
            roster,
            metrics,
            reader,
            sinks,
            deliveries,
        })
    }

    pub fn addresses(&self) -> std::io::Result<Addresses> {
        Ok(Addresses {
            rtmp: self.rtmp.local_addr(),
            rtmps: self.rtmp.secure_addr(),
            http: self.console.local_addr()?,
            webrtc: self.gateway.local_addr(),
        })
    }

    /// Writes for whoever started this server what it is: its process, where it
    /// listens, and the logs of its analysts. Whoever else holds a port can't.
    fn tell_ready(&self, file: &Path) -> anyhow::Result<()> {
        let addresses = self.addresses()?;
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        let mut text = format!(
            "pid={}\nhttp={scheme}://{}\nrtmp={}\n",
            std::process::id(),
            addresses.http,
            addresses.rtmp
        );
        for agent in self.config.panel.enabled() {
            let log = agent.log_name();
            let log = self.config.places.logs.join(log);
            text.push_str(&format!("log={}\n", log.display()));
        }
        private::write(file, &text)?;
        Ok(())
    }

    /// Serves until `shutdown`; an error means that something essential
    /// ended before.
    pub async fn run(self, shutdown: CancellationToken) -> anyhow::Result<()> {
        let addresses = self
            .addresses()
            .context("failed to read the addresses listened on")?;
        self.announce(addresses);
        let ready = Arc::new(AtomicBool::new(true));
        let roster = self.roster;
        let meeting = Meeting {
            frames: self.frames.clone(),
            findings: self.findings.clone(),
            roster: roster.clone(),
            metrics: Arc::clone(&self.metrics),
            budget: self.hiring.budget().clone(),
        };
        let views = Views {
            hub: self.hub.clone(),
            frames: self.frames.clone(),
            findings: self.findings.clone(),
            roster: roster.clone(),
            metrics: Arc::clone(&self.metrics),
            deliveries: self.deliveries,
            budget: self.hiring.budget().clone(),
            doors: Doors {
                rtmp: addresses.rtmp,
                rtmps: addresses.rtmps,
                stream_key: self.config.secrets.stream_key.is_some(),
                public_address: self.config.places.public_address.clone(),
            },
            answers: Arc::new(Clerk::new(self.staff.subscribe(), meeting.clone())),
            redact: self.config.panel.model.redact_at_home(),
            ready: Arc::clone(&ready),
        };
        let fastest = watch::Sender::new(self.config.panel.fastest());
        let pace = fastest.subscribe();
        // Sources end when told to; the rest when its sources have.
        let sources = shutdown.child_token();
        let mut essential: JoinSet<(&'static str, anyhow::Result<()>)> = JoinSet::new();
        essential.spawn(name("rtmp", done(self.rtmp.run(sources.clone()))));
        essential.spawn(name(
            "console",
            served(
                self.console
                    .run(views, whep::router(self.gateway.clone()), sources.clone()),
            ),
        ));
        essential.spawn(name("webrtc", done(self.gateway.run(sources.clone()))));
        essential.spawn(name(
            "transcodes",
            done(av::supply(
                self.hub.clone(),
                self.renditions,
                Arc::clone(&self.metrics),
                self.config.settings.webrtc.transcode == Transcode::Auto,
                sources.clone(),
            )),
        ));
        let hub = self.hub.clone();
        let closing = sources.clone();
        essential.spawn(name(
            "streams",
            done(async move { hub.expire(closing).await }),
        ));
        essential.spawn(name(
            "sinks",
            done(self.sinks.run(self.findings.clone(), sources.clone())),
        ));
        let watchdog = Watchdog::new(
            self.hub.clone(),
            self.frames.clone(),
            meeting.roster.clone(),
            self.findings.clone(),
            self.config.settings.watchdog.clone(),
        );
        // Made only where it runs: the drain waits for all who could publish.
        if self.reader.is_some() && self.config.settings.store.keep_stills {
            let history = History {
                frames: self.frames.clone(),
                findings: self.findings.clone(),
                redact: self.config.panel.model.redact_at_home(),
            };
            essential.spawn(name("history", done(history.run(sources.clone()))));
        }
        essential.spawn(name("watchdog", done(watchdog.run(sources.clone()))));
        essential.spawn(name(
            "agents",
            done(agents::run(
                self.staff.subscribe(),
                meeting,
                sources.clone(),
            )),
        ));
        let reload = Reload {
            file: self.config.places.config.clone(),
            hiring: self.hiring,
            staff: self.staff,
            roster,
            findings: self.findings.clone(),
            metrics: Arc::clone(&self.metrics),
            fastest,
            patterns: self.reader.as_ref().map(Reader::patterns),
        };
        essential.spawn(name("reload", done(reload.run(sources.clone()))));
        essential.spawn(name(
            "decoders",
            done(decoders::run(
                self.hub,
                self.frames,
                self.metrics,
                pace,
                sources.clone(),
            )),
        ));
        if let Some(tls) = self.tls {
            essential.spawn(name("tls", done(tls.run(sources.clone()))));
        }
        if let Some(reader) = self.reader {
            essential.spawn(name("reader", done(reader.run(sources.clone()))));
        }
        let lines = tokio::spawn(print_findings(self.findings));
        let failure = supervise(&mut essential, &shutdown).await;
        ready.store(false, Ordering::Relaxed);
        tracing::info!("draining");
        sources.cancel();
        let drain = async {
            while essential.join_next().await.is_some() {}
            // It holds the last way to publish.
            lines.abort();
            let _ = lines.await;
            let _ = tokio::task::spawn_blocking(|| self.writer.join()).await;
        };
        if tokio::time::timeout(DRAIN, drain).await.is_err() {
            tracing::warn!("not everything had ended after {} s", DRAIN.as_secs());
        }
        tracing::info!("ended");
        failure
    }

    fn announce(&self, addresses: Addresses) {
        tracing::info!("RTMP listening on {}", addresses.rtmp);
        if let Some(address) = addresses.rtmps {
            tracing::info!("RTMPS listening on {address}");
        }
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        tracing::info!("HTTP listening on {scheme}://{}", addresses.http);
        tracing::info!("WebRTC listening on {} (UDP and TCP)", addresses.webrtc);
        if let Some(tls) = &self.tls {
            tracing::info!("certificate in use: {}", tls.certificate());
        }
        for agent in self.roster.agents() {
            tracing::info!(
                agent = agent.name,
                provider = agent.provider,
                model = agent.model,
                "on the panel"
            );
        }
        let staff = self.staff.borrow().clone();
        let mut told = Vec::new();
        for thinker in staff
            .members
            .iter()
            .flat_map(|member| member.mind.thinkers())
        {
            let (model, lacks) = (thinker.model.identity(), thinker.model.lacks());
            if !lacks.is_empty() && !told.contains(&model.provider) {
                tracing::info!("{} models: {lacks}", model.provider);
                told.push(model.provider);
            }
        }
        if self.staff.borrow().members.is_empty() {
            tracing::info!("no agent is enabled: streams are taken in, nobody looks at them");
        }
    }
}

/// Waits for the signal, or for something essential to end before it.
async fn supervise(
    essential: &mut JoinSet<(&'static str, anyhow::Result<()>)>,
    shutdown: &CancellationToken,
) -> anyhow::Result<()> {
    tokio::select! {
        // First: a task that ends because it was told to is no failure.
        biased;
        () = shutdown.cancelled() => Ok(()),
        Some(ended) = essential.join_next() => match ended {
            Ok((task, Ok(()))) => bail!("{task} ended by itself"),
            Ok((task, Err(error))) => Err(error.context(format!("{task} failed"))),
            Err(error) => Err(error).context("an essential task panicked"),
        },
    }
}

async fn name(
    task: &'static str,
    work: impl Future<Output = anyhow::Result<()>>,
) -> (&'static str, anyhow::Result<()>) {
    (task, work.await)
}

async fn done(work: impl Future<Output = ()>) -> anyhow::Result<()> {
    work.await;
    Ok(())
}

async fn served(work: impl Future<Output = std::io::Result<()>>) -> anyhow::Result<()> {
    Ok(work.await?)
}

/// More open files than RTMP's and HTTP's connections together take: what a
/// shell allows is mostly 1024.
const OPEN_FILES: u64 = 8192;

/// Up to what the system allows.
fn allow_connections() {
    let mut limit = getrlimit(Resource::Nofile);
    let allowed = limit.maximum.unwrap_or(OPEN_FILES).min(OPEN_FILES);
    if limit.current.is_some_and(|current| current < allowed) {
        limit.current = Some(allowed);
        if let Err(error) = setrlimit(Resource::Nofile, limit) {
            tracing::warn!(%error, "the limit of open files stays as it is");
        }
    }
}

/// A line each on the server's own output.
async fn print_findings(findings: FindingsBus) {
    let mut heard = findings.subscribe();
    drop(findings);
    loop {
        match heard.recv().await {
            Ok(finding) => tracing::info!(target: "finding", "{}", line(&finding)),
            Err(RecvError::Lagged(count)) => {
                tracing::warn!(
                    count,
                    "findings came too fast to print; all are in findings.jsonl"
                );
            }
            Err(RecvError::Closed) => return,
        }
    }
}

fn line(finding: &Finding) -> String {
    let quote = finding
        .evidence
        .iter()
        .find(|evidence| !evidence.quote.is_empty());
    let quote = quote
        .map(|evidence| format!(" | {}", printable(&evidence.quote)))
        .unwrap_or_default();
    let (agent, stream, title) = (&finding.agent, &finding.stream, printable(&finding.title));
    format!(
        "{} {agent} {stream}: {title}{quote}",
        finding.severity.as_str().to_uppercase()
    )
}

/// Folder of the logs, and their rotation.
fn log_place(config: &Config) -> LogPlace {
    LogPlace {
        folder: config.places.logs.clone(),
        rotation: config.settings.logs,
    }
}

//! Server of all wings: [`App::bind`] opens it, [`App::run`] supervises and
//! drains it.
//!
//! The drain follows the data flow. Sources are cancelled first (publishers,
//! API clients, agents); decoders end with their streams, the writer of
//! findings when its last publisher is dropped. Tasks beyond the time limit are
//! abandoned ([`drain`]).

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use anyhow::Context as _;
use jiff::{SignedDuration, Timestamp};
use rustix::process::{Resource, getrlimit, setrlimit};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use watchtower_analysts as analysts;
use watchtower_analysts::agents_file::AgentsFileHandle;
use watchtower_analysts::series::SeriesRecorder;
use watchtower_analysts::settings::AgentConfig;
use watchtower_analysts::watchdog::Watchdog;
use watchtower_analysts::{AgentContext, AgentSet, AskService};
use watchtower_base::atomic_file;
use watchtower_base::tls::Tls;
use watchtower_codec as codec;
use watchtower_console::{Console, ConsoleSettings, ConsoleState, Endpoints, ShareLinks};
use watchtower_domain::agent_status::AgentBoard;
use watchtower_domain::finding::WATCHTOWER;
use watchtower_domain::sink_status::SinkBoard;
use watchtower_ingest as ingest;
use watchtower_media::audio_bus::AudioBus;
use watchtower_media::hub::StreamHub;
use watchtower_media::hub::renditions::Renditions;
use watchtower_playback as playback;
use watchtower_playback::settings::Transcode;
use watchtower_record::snapshots::History;
use watchtower_record::{LogPlace, Record};
use watchtower_screen::ScreenReader;
use watchtower_screen::frames::FrameBus;
use watchtower_sinks::Sinks;
use watchtower_sinks::push::WebPush;

use crate::build_agents::AgentFactory;
use crate::config::Config;
use crate::metrics::ServerMetrics;
use crate::print::print_findings;
use crate::reload::Reload;
use crate::tasks::{done, drain, name, served, supervise};

/// Server with all its listeners open and no connection accepted yet.
#[derive(Debug)]
pub struct App {
    config: Config,
    tls: Option<Tls>,
    rtmp: ingest::RtmpListeners,
    console: Console,
    gateway: playback::Gateway,
    whip: ingest::whip::WhipServer,
    renditions: Renditions,
    hub: StreamHub,
    frames: FrameBus,
    findings: Record,
    writer: JoinHandle<()>,
    factory: AgentFactory,
    agents: watch::Sender<AgentSet>,
    board: AgentBoard,
    metrics: ServerMetrics,
    reader: Option<ScreenReader>,
    sinks: Sinks,
    push: Option<WebPush>,
    sink_board: SinkBoard,
    shares: ShareLinks,
}

/// Bound addresses, which differ from the configured ones for port 0.
#[derive(Debug, Clone, Copy)]
pub struct Addresses {
    pub rtmp: SocketAddr,
    pub rtmps: Option<SocketAddr>,
    pub http: SocketAddr,
    pub webrtc: SocketAddr,
}

impl App {
    /// Opens store and listeners; the error is one line.
    pub async fn bind(config: Config) -> anyhow::Result<Self> {
        allow_connections();
        let metrics = ServerMetrics::new();
        let hub = StreamHub::holding();
        let frames = FrameBus::new();
        let (factory, agents, board) = AgentFactory::open(&config)?;
        for agent in config.panel.enabled() {
            metrics.analysts.introduce_agent(agent.name());
        }
        let names: Vec<_> = config
            .panel
            .enabled()
            .map(AgentConfig::name)
            .chain([WATCHTOWER])
            .map(str::to_owned)
            .collect();
        let (findings, writer) = Record::open(
            &config.places.data,
            log_place(&config),
            &names,
            &config.settings.store,
        )?;
        // Usage of the day, and of the hour before it began.
        let since = Timestamp::now() - SignedDuration::from_hours(25);
        let spent = findings.read(move |store| store.spent_since(since));
        let spent = spent.await?;
        factory.budget().recall(&spent);
        let shares = ShareLinks::open(&findings).await?;
        let sink_board = SinkBoard::default();
        let sinks = Sinks::open(
            &config.settings.sinks,
            &findings,
            &sink_board,
            &metrics.sinks,
        )
        .await?;
        let push = config.settings.push.clone();
        let push = match push.enabled {
            true => Some(WebPush::open(push, &config.places.data).map_err(anyhow::Error::msg)?),
            false => None,
        };
        let reader =
            crate::build_agents::reader(&config, &frames, Some(findings.clone()), &metrics.screen)?;
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
        let settings = playback::GatewaySettings {
            address,
            public_address: config.places.public_address.clone(),
            webrtc: config.settings.webrtc.clone(),
        };
        let renditions = Renditions::new();
        let gateway = playback::Gateway::bind(
            settings,
            hub.clone(),
            renditions.clone(),
            Arc::clone(&metrics.playback),
        );
        let gateway = gateway
            .await
            .with_context(|| format!("failed to open {address} for WebRTC (--webrtc)"))?;
        let rtmp = ingest::RtmpListeners::bind(
            crate::build_agents::rtmp_settings(&config, tls.as_ref()),
            hub.clone(),
            Arc::clone(&metrics.ingest),
        );
        let rtmp = rtmp.await?;
        let whip = ingest::whip::WhipServer::new(
            crate::build_agents::whip_settings(&config),
            rtmp.gate(),
            Arc::new(shares.clone()),
            gateway.port(),
            hub.clone(),
            Arc::clone(&metrics.ingest),
        );
        Ok(Self {
            config,
            tls,
            rtmp,
            console,
            gateway,
            whip,
            renditions,
            hub,
            frames,
            findings,
            writer,
            factory,
            agents: watch::Sender::new(agents),
            board,
            metrics,
            reader,
            sinks,
            push,
            sink_board,
            shares,
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

    /// Writes the ready file for start scripts: process id, addresses, and the
    /// analysts' logs. Another process on the same port can't.
    pub(crate) fn tell_ready(&self, file: &Path) -> anyhow::Result<()> {
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
            text.push_str(&format!(
                "analyst={}\nlog={}\n",
                agent.name(),
                log.display()
            ));
        }
        atomic_file::write_private(file, text.as_bytes())?;
        Ok(())
    }

    /// Serves until `shutdown`; fails if an essential task ended before.
    pub async fn run(self, shutdown: CancellationToken) -> anyhow::Result<()> {
        let addresses = self
            .addresses()
            .context("failed to read the addresses listened on")?;
        self.announce(addresses);
        let ready = Arc::new(AtomicBool::new(true));
        let board = self.board;
        let redact_at_home = (self.config.panel.model.redact).at_home(self.reader.is_some());
        let audio = AudioBus::default();
        let context = AgentContext {
            frames: self.frames.clone(),
            findings: self.findings.clone(),
            board: board.clone(),
            metrics: Arc::clone(&self.metrics.analysts),
            budget: self.factory.budget().clone(),
            audio: audio.clone(),
        };
        let (agents_file, agents_file_requests) = AgentsFileHandle::new();
        let console = ConsoleState {
            hub: self.hub.clone(),
            agents_file,
            frames: self.frames.clone(),
            findings: self.findings.clone(),
            board: board.clone(),
            metrics: self.metrics.console,
            analyst_metrics: Arc::clone(&self.metrics.analysts),
            registry: self.metrics.registry,
            sink_board: self.sink_board.clone(),
            push: self.push.clone(),
            budget: self.factory.budget().clone(),
            shares: self.shares,
            endpoints: Endpoints {
                rtmp: addresses.rtmp,
                rtmps: addresses.rtmps,
                stream_key: self.config.secrets.stream_key.is_some(),
                public_address: self.config.places.public_address.clone(),
            },
            answers: Arc::new(AskService::new(self.agents.subscribe(), context.clone())),
            redact: redact_at_home,
            ready: Arc::clone(&ready),
        };
        let demand = watch::Sender::new(self.config.panel.frame_demand());
        let frames_wanted = demand.subscribe();
        // Sources end when cancelled; the rest when its sources have ended.
        let sources = shutdown.child_token();
        let mut essential: JoinSet<(&'static str, anyhow::Result<()>)> = JoinSet::new();
        essential.spawn(name("rtmp", done(self.rtmp.run(sources.clone()))));
        essential.spawn(name(
            "console",
            served(self.console.run(
                console,
                playback::router(self.gateway.clone()),
                ingest::whip::router(self.whip.clone()),
                sources.clone(),
            )),
        ));
        essential.spawn(name("whip", done(self.whip.run(sources.clone()))));
        essential.spawn(name("webrtc", done(self.gateway.run(sources.clone()))));
        essential.spawn(name(
            "transcodes",
            done(codec::supply(
                self.hub.clone(),
                self.renditions,
                Arc::clone(&self.metrics.codec),
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
        if let Some(push) = self.push {
            essential.spawn(name(
                "push",
                done(push.run(
                    self.findings.clone(),
                    self.sink_board,
                    self.metrics.sinks,
                    sources.clone(),
                )),
            ));
        }
        let watchdog = Watchdog::new(
            self.hub.clone(),
            self.frames.clone(),
            context.board.clone(),
            self.findings.clone(),
            self.config.settings.watchdog.clone(),
        );
        // Created only where it runs, as the drain waits for all publishers of
        // findings.
        if self.reader.is_some() && self.config.settings.store.keep_stills {
            let history = History {
                frames: self.frames.clone(),
                findings: self.findings.clone(),
                redact: redact_at_home,
            };
            essential.spawn(name("history", done(history.run(sources.clone()))));
        }
        if self.reader.is_some() {
            let series = SeriesRecorder::new(&context, self.agents.subscribe(), redact_at_home);
            essential.spawn(name("series", done(series.run(sources.clone()))));
        }
        essential.spawn(name("watchdog", done(watchdog.run(sources.clone()))));
        essential.spawn(name(
            "agents",
            done(analysts::run(
                self.agents.subscribe(),
                context,
                sources.clone(),
            )),
        ));
        let reload = Reload {
            file: self.config.places.config.clone(),
            factory: self.factory,
            agents: self.agents,
            board,
            findings: self.findings.clone(),
            metrics: self.metrics.analysts,
            demand,
            patterns: self.reader.as_ref().map(ScreenReader::patterns),
            requests: agents_file_requests,
            since: Timestamp::now(),
        };
        essential.spawn(name("reload", done(reload.run(sources.clone()))));
        essential.spawn(name(
            "decoders",
            done(crate::decoders::run(
                self.hub,
                self.frames,
                self.metrics.streams,
                self.metrics.codec,
                audio,
                frames_wanted,
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
        drain(essential, lines, self.writer).await;
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
        for agent in self.board.agents() {
            tracing::info!(
                agent = agent.name,
                provider = agent.provider,
                model = agent.model,
                "analyst enabled"
            );
        }
        let agents = self.agents.borrow().clone();
        let mut reported = Vec::new();
        for link in agents
            .members
            .iter()
            .flat_map(|member| member.chain.links())
        {
            let (model, lacks) = (link.model.identity(), link.model.lacks());
            if !lacks.is_empty() && !reported.contains(&model.provider) {
                tracing::info!("{} models: {lacks}", model.provider);
                reported.push(model.provider);
            }
        }
        if self.agents.borrow().members.is_empty() {
            tracing::info!("no analyst enabled: streams are relayed without analysis");
        }
    }
}

/// Open files for the connections of RTMP and HTTP together: the default limit
/// of a shell is mostly 1024.
const OPEN_FILES: u64 = 8192;

/// Raises the soft limit up to the hard limit.
fn allow_connections() {
    let mut limit = getrlimit(Resource::Nofile);
    let allowed = limit.maximum.unwrap_or(OPEN_FILES).min(OPEN_FILES);
    if limit.current.is_some_and(|current| current < allowed) {
        limit.current = Some(allowed);
        if let Err(error) = setrlimit(Resource::Nofile, limit) {
            tracing::warn!(%error, "failed to raise the open file limit");
        }
    }
}

/// Folder of the logs, and their rotation.
pub(crate) fn log_place(config: &Config) -> LogPlace {
    LogPlace {
        folder: config.places.logs.clone(),
        rotation: config.settings.logs,
    }
}

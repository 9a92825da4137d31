//! `watchtower agent`: one persona on a machine of its own.
//!
//! A WebRTC stream of the other server is published on the local hub; decoder,
//! OCR, agent and record behind it are those of `serve`, and the findings are
//! sent back.

use std::sync::Arc;

use anyhow::{Context as _, bail};
use prometheus_client::metrics::gauge::Gauge;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use url::Url;

use watchtower_analysts as analysts;
use watchtower_analysts::metrics::AnalystMetrics;
use watchtower_analysts::settings::{AgentConfig, Panel};
use watchtower_analysts::{AgentContext, AgentSet};
use watchtower_base::bearer::{Bearer, address, shown};
use watchtower_base::stream_name::StreamName;
use watchtower_media::audio_bus::AudioBus;
use watchtower_media::hub::StreamHub;
use watchtower_playback::client::{ClientSettings, WhepClient};
use watchtower_record::Record;
use watchtower_screen::frames::FrameBus;
use watchtower_sinks::watchtower::Reporter;

use super::decoders;
use crate::build_agents;
use crate::build_agents::AgentFactory;
use crate::cli::AgentArgs;
use crate::config::{Config, Places, Secrets};
use crate::print::print_findings;
use crate::tasks::{done, drain, name, supervise};

/// Runs until `shutdown`; fails on permanent errors.
pub(crate) async fn run(
    args: AgentArgs,
    secrets: Secrets,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    let whep = address(&args.whep).context("invalid --whep")?;
    let report = args.report.as_deref().map(address).transpose();
    let report = report.context("invalid --report")?;
    let stream = stream_name(&whep);
    let persona = args.persona.clone();
    let mut config = Config::load(places(args), secrets)?;
    alone(&mut config.panel, &persona, &config.places.config)?;
    let (factory, agents, board) = AgentFactory::open(&config)?;
    let Some(member) = agents.members.first() else {
        bail!("no analyst to run");
    };
    let agent = member.config.name().to_owned();

    let origins: Vec<&Url> = [Some(&whep), report.as_ref()]
        .into_iter()
        .flatten()
        .collect();
    let bearer = Bearer::new(config.secrets.console_token.clone(), &origins);
    for url in origins {
        if bearer.is_exposed_to(url) {
            tracing::warn!(
                "the token is sent unencrypted to {}: use https or a tunnel",
                shown(url)
            );
        }
    }

    let metrics = Arc::new(AnalystMetrics::default());
    metrics.introduce_agent(&agent);
    let hub = StreamHub::holding();
    let frames = FrameBus::new();
    let (findings, writer) = Record::open(
        &config.places.data,
        crate::serve::log_place(&config),
        std::slice::from_ref(&agent),
        &config.settings.store,
    )?;
    // The other server stores the screen's text.
    let reader = build_agents::reader(&config, &frames, None, &Arc::default())?;
    let client = WhepClient::new(ClientSettings {
        url: whep.clone(),
        bearer: bearer.clone(),
        stream,
    })?;
    let reporter = report
        .as_ref()
        .map(|server| Reporter::new(server, bearer))
        .transpose()?;
    let to = report.as_ref().map_or("nobody".to_owned(), shown);
    tracing::info!(agent, "analysing {}, reporting to {to}", shown(&whep));

    // The watchdog runs on the other server.
    let alone = AgentSet {
        members: Arc::from([member.clone()]),
        ..agents.clone()
    };
    let (_unchanging, agents) = watch::channel(alone);
    let sources = shutdown.child_token();
    let context = AgentContext {
        frames: frames.clone(),
        findings: findings.clone(),
        board,
        metrics,
        budget: factory.budget().clone(),
        // Video alone is received.
        audio: AudioBus::default(),
    };
    // The sender is kept until the end: nothing is reloaded here.
    let (_keep, demand) = watch::channel(config.panel.frame_demand());
    let mut essential: JoinSet<(&'static str, anyhow::Result<()>)> = JoinSet::new();
    let receiving = client.run(hub.clone(), sources.clone());
    essential.spawn(name("receiving", async { Ok(receiving.await?) }));
    let closing = (hub.clone(), sources.clone());
    essential.spawn(name(
        "streams",
        done(async move { closing.0.expire(closing.1).await }),
    ));
    essential.spawn(name(
        "agents",
        done(analysts::run(agents, context, sources.clone())),
    ));
    essential.spawn(name(
        "decoders",
        done(decoders::run(
            hub,
            frames,
            Gauge::default(),
            Arc::default(),
            AudioBus::default(),
            demand,
            sources.clone(),
        )),
    ));
    if let Some(reader) = reader {
        essential.spawn(name("reader", done(reader.run(sources.clone()))));
    }
    if let Some(reporter) = reporter {
        let reporting = reporter.run(findings.clone(), sources.clone());
        essential.spawn(name("report", done(reporting)));
    }
    let lines = tokio::spawn(print_findings(findings));
    let failure = supervise(&mut essential, &shutdown).await;
    sources.cancel();
    drain(essential, lines, writer).await;
    failure
}

/// Only the selected persona, enabled or not, on all streams.
fn alone(panel: &mut Panel, persona: &str, file: &std::path::Path) -> anyhow::Result<()> {
    let names: Vec<_> = panel.agents.iter().map(AgentConfig::name).collect();
    let names = names.join(", ");
    panel
        .agents
        .retain(|agent| agent.name().eq_ignore_ascii_case(persona));
    let Some(agent) = panel.agents.first_mut() else {
        bail!(
            "--persona {persona:?} is not in {}: expected one of {names}",
            file.display()
        );
    };
    agent.enabled = true;
    agent.streams.clear();
    Ok(())
}

/// Name of the stream on the other server, if the WHEP URL contains one.
fn stream_name(whep: &Url) -> StreamName {
    let last = whep
        .path_segments()
        .and_then(|mut segments| segments.rfind(|segment| !segment.is_empty()));
    let named = last.and_then(|name| StreamName::new(name).ok());
    named.unwrap_or_else(fallback)
}

#[expect(clippy::expect_used, reason = "a constant that is valid")]
fn fallback() -> StreamName {
    StreamName::new("stream").expect("a valid name")
}

/// Placeholders: a remote agent does not listen.
fn places(args: AgentArgs) -> Places {
    let nowhere = std::net::SocketAddr::from(([127, 0, 0, 1], 0));
    Places {
        config: args.files.config,
        settings: args.files.settings,
        rtmp: nowhere,
        rtmps: None,
        http: nowhere,
        webrtc: nowhere,
        public_address: None,
        // Subfolder of the logs, so that only one folder per agent is
        // configured.
        data: args.logs.join("data"),
        logs: args.logs,
        models: args.ocr.models,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stream_name_is_taken_from_the_whep_url() {
        let name = |url| stream_name(&address(url).unwrap()).to_string();
        assert_eq!(name("http://host:8080/whep/team"), "team");
        assert_eq!(name("https://host/live/team/"), "team");
        assert_eq!(name("https://host/"), "stream");
        assert_eq!(name("https://host/a%20b"), "stream");
    }
}

//! Setup information: for setting up Watchtower, or troubleshooting a missing
//! stream.

use std::net::SocketAddr;

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use watchtower_media::hub::RejectedPublisher;
use watchtower_record::store::{Disk, Readers};

use crate::AppState;
use crate::http::problem::{Failed, Problem};

/// Addresses for publishers.
#[derive(Debug, Clone)]
pub struct Endpoints {
    pub rtmp: SocketAddr,
    pub rtmps: Option<SocketAddr>,
    /// True if a stream key is needed. The key itself is not given here.
    pub stream_key: bool,
    /// As configured for WebRTC: how the machine is reached from outside.
    pub public_address: Option<String>,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Door)]
struct ListenerPort {
    port: u16,
    /// Local connections only.
    this_machine_only: bool,
}

impl From<SocketAddr> for ListenerPort {
    fn from(address: SocketAddr) -> Self {
        Self {
            port: address.port(),
            this_machine_only: address.ip().is_loopback(),
        }
    }
}

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SetupShown {
    /// Version of Watchtower.
    version: &'static str,
    rtmp: ListenerPort,
    /// Null where it is off.
    rtmps: Option<ListenerPort>,
    /// True if publishers need a stream key; without one only this machine may
    /// publish.
    stream_key: bool,
    /// `--public-address`; null unless given.
    public_address: Option<String>,
    /// True if OCR is on; without it there is no search and no history.
    reads_screens: bool,
    disk: Disk,
    /// Errors of the host, such as a full disk or a wrong clock; each a
    /// sentence.
    faults: Vec<String>,
    /// Rejected publishers, newest first, without their input.
    refused: Vec<RejectedPublisher>,
}

/// Addresses to publish to, rejected publishers and disk space
#[utoipa::path(get, path = "/api/setup", tag = "live", responses((status = 200, body = SetupShown), Failed))]
pub(crate) async fn setup(State(state): State<AppState>) -> Result<Json<SetupShown>, Problem> {
    let console = &state.console;
    let endpoints = &console.endpoints;
    let faults = [
        console.findings.write_error().await,
        console.findings.clock_fault().await,
    ];
    Ok(Json(SetupShown {
        version: env!("CARGO_PKG_VERSION"),
        rtmp: endpoints.rtmp.into(),
        rtmps: endpoints.rtmps.map(ListenerPort::from),
        stream_key: endpoints.stream_key,
        public_address: endpoints.public_address.clone(),
        reads_screens: console.frames.is_read(),
        disk: console.findings.read(Readers::disk).await?,
        faults: faults.into_iter().flatten().collect(),
        refused: console.hub.refusals(),
    }))
}

//! WebRTC port of a server: UDP and TCP on one number, the certificate of its
//! sessions, and the peer connections on it.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use rtc::crypto::RTCCryptoProvider;
use rtc::peer_connection::transport::RTCDtlsRole;
use tokio::net::TcpListener;
use webrtc::error::Error;
use webrtc::peer_connection::{
    MediaEngine, PeerConnection, PeerConnectionBuilder, PeerConnectionEventHandler, RTCCertificate,
    RTCConfigurationBuilder, Registry, SettingEngineBuilder, SrtpProtectionProfile,
};

use crate::ice_socket::{IceCredentials, IceSocket, IceSocketRuntime, SILENCE};
use crate::metrics::TransportMetrics;
use crate::udp_mux::UdpMux;
use crate::{answer, tcp};

/// Bound port.
pub struct WebrtcPort {
    mux: Arc<UdpMux>,
    listener: TcpListener,
    /// Addresses behind NAT.
    public: Vec<IpAddr>,
    certificate: RTCCertificate,
    crypto: Arc<dyn RTCCryptoProvider>,
}

impl std::fmt::Debug for WebrtcPort {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "WebrtcPort({:?})", self.mux)
    }
}

/// Parts of a peer connection that depend on its use.
pub struct PeerSetup {
    pub engine: MediaEngine,
    pub interceptors: Registry,
    pub events: Arc<dyn PeerConnectionEventHandler>,
    /// Crypto of the session, such as a [`Tap`](crate::srtp_keys::Tap).
    pub crypto: Arc<dyn RTCCryptoProvider>,
    /// True to begin the DTLS handshake, with a peer that waits for it.
    pub begins_dtls: bool,
    /// True if the session has a timeout of its own instead of ICE's, as with
    /// ICE restarts, whose checks webrtc does not see.
    pub outlives_ice: bool,
    /// Number of RTP packets by which a late one may be behind.
    pub replay_window: Option<usize>,
}

impl std::fmt::Debug for PeerSetup {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PeerSetup").finish_non_exhaustive()
    }
}

impl WebrtcPort {
    /// Binds both. `public_address` is the public address or host name, behind
    /// NAT.
    pub async fn bind(
        address: SocketAddr,
        public_address: Option<&str>,
        metrics: &Arc<TransportMetrics>,
    ) -> io::Result<Self> {
        let crypto = rtc::crypto::default_provider().map_err(io::Error::other)?;
        let (mux, listener) = bind_both(address, &crypto, metrics).await?;
        let public = match public_address {
            Some(name) => resolve(name, mux.local_addr()).await?,
            None => Vec::new(),
        };
        let certificate = certificate(&*crypto)?;
        Ok(Self {
            mux,
            listener,
            public,
            certificate,
            crypto,
        })
    }

    pub fn local_addr(&self) -> SocketAddr {
        self.mux.local_addr()
    }

    pub fn mux(&self) -> &Arc<UdpMux> {
        &self.mux
    }

    pub fn crypto(&self) -> &Arc<dyn RTCCryptoProvider> {
        &self.crypto
    }

    /// Receives and accepts until dropped; returns if the UDP socket fails.
    pub async fn run(&self) {
        tokio::select! {
            () = self.mux.receive() => tracing::error!("WebRTC port failed"),
            () = tcp::accept(&self.listener, &self.mux, tcp::CAPS) => {}
        }
    }

    /// Addresses and port number of the candidates in an answer. `near`: the
    /// request came by a loopback address.
    pub fn candidates(&self, near: bool) -> (Vec<IpAddr>, u16) {
        let local = self.mux.local_addr();
        answer::advertised(local, &self.public, self.mux.addresses(near))
    }

    /// Registers a session's socket, until the guard is dropped.
    pub fn plug(&self, line: IceSocket) -> PluggedSocket {
        let line = Arc::new(line);
        self.mux.add(&line);
        PluggedSocket {
            mux: Arc::clone(&self.mux),
            line,
        }
    }

    /// Creates a peer connection on a session's socket, as an ICE-lite agent.
    pub async fn connect(
        &self,
        line: &Arc<IceSocket>,
        setup: PeerSetup,
    ) -> Result<Arc<dyn PeerConnection>, Error> {
        // Zero is none.
        let timeout = match setup.outlives_ice {
            true => Duration::ZERO,
            false => 2 * SILENCE,
        };
        let role = match setup.begins_dtls {
            true => RTCDtlsRole::Client,
            false => RTCDtlsRole::Server,
        };
        let mut settings = SettingEngineBuilder::new()
            .with_ice_credentials(line.fragment().to_owned(), line.password().to_owned())
            .with_lite(true)
            .with_include_loopback_candidate(true)
            .with_answering_dtls_role(role)
            .with_multicast_dns_mode(rtc::ice::mdns::MulticastDnsMode::Disabled)
            // Idle timeouts are the session's, and the peer's consent checks
            // keep the path open.
            .with_ice_timeouts(Some(timeout), Some(2 * timeout), Some(SILENCE))
            // The first is cheaper by 0.7 us a packet.
            .with_srtp_protection_profiles(vec![
                SrtpProtectionProfile::Srtp_Aead_Aes_128_Gcm,
                SrtpProtectionProfile::Srtp_Aes128_Cm_Hmac_Sha1_80,
            ])
            .with_crypto_provider(setup.crypto);
        if let Some(window) = setup.replay_window {
            settings = settings.with_srtp_replay_protection_window(window);
        }
        let label = if self.local_addr().is_ipv4() {
            "127.0.0.1:0"
        } else {
            "[::1]:0"
        };
        let connection = PeerConnectionBuilder::new()
            .with_configuration(
                RTCConfigurationBuilder::new()
                    .with_certificates(vec![self.certificate.clone()])
                    .build(),
            )
            .with_media_engine(setup.engine)
            .with_setting_engine(settings.build())
            .with_interceptor_registry(setup.interceptors)
            .with_handler(setup.events)
            .with_runtime(Arc::new(IceSocketRuntime::new(
                Arc::clone(line),
                Arc::clone(&self.mux),
            )))
            .with_udp_addrs(vec![label])
            .build()
            .await?;
        Ok(Arc::new(connection))
    }
}

/// Registration of a session's socket at the port, until dropped.
#[derive(Debug)]
pub struct PluggedSocket {
    mux: Arc<UdpMux>,
    line: Arc<IceSocket>,
}

impl PluggedSocket {
    pub fn restarter(&self) -> IceRestarter {
        IceRestarter {
            mux: Arc::clone(&self.mux),
            line: Arc::clone(&self.line),
        }
    }

    pub fn line(&self) -> &Arc<IceSocket> {
        &self.line
    }
}

/// Handle that restarts the ICE of a session.
#[derive(Debug, Clone)]
pub struct IceRestarter {
    mux: Arc<UdpMux>,
    line: Arc<IceSocket>,
}

impl IceRestarter {
    /// Credentials for the checks from now on.
    pub fn restart(&self) -> IceCredentials {
        let credentials = IceCredentials {
            fragment: random_hex(8),
            password: random_hex(16),
        };
        self.mux.restart(&self.line, credentials.clone());
        credentials
    }
}

impl Drop for PluggedSocket {
    fn drop(&mut self) {
        self.mux.remove(&self.line);
    }
}

/// Lower-case hexadecimal of so many random bytes, for credentials and ids of
/// sessions.
pub fn random_hex(bytes: usize) -> String {
    (0..bytes)
        .map(|_| format!("{:02x}", rand::random::<u8>()))
        .collect()
}

/// Binds UDP and TCP on the same port number. For port 0 a number that is free
/// for both has to be found.
async fn bind_both(
    address: SocketAddr,
    crypto: &Arc<dyn RTCCryptoProvider>,
    metrics: &Arc<TransportMetrics>,
) -> io::Result<(Arc<UdpMux>, TcpListener)> {
    let mut tries = if address.port() == 0 { 16 } else { 1 };
    loop {
        tries -= 1;
        let port = bind_port(address, crypto, metrics)?;
        match tcp::listen(port.local_addr()) {
            Ok(listener) => return Ok((Arc::new(port), listener)),
            Err(error) if tries == 0 => return Err(error),
            Err(_) => {}
        }
    }
}

/// Replaces all IPv4 addresses (`0.0.0.0`) by all of IPv6, if the kernel
/// supports that: one socket serves both (RFC 3493, section 3.7).
fn bind_port(
    address: SocketAddr,
    crypto: &Arc<dyn RTCCryptoProvider>,
    metrics: &Arc<TransportMetrics>,
) -> io::Result<UdpMux> {
    let bind = |address| UdpMux::bind(address, Arc::clone(crypto), Arc::clone(metrics));
    if address.ip() != IpAddr::V4(Ipv4Addr::UNSPECIFIED) {
        return bind(address);
    }
    match bind(SocketAddr::new(
        Ipv6Addr::UNSPECIFIED.into(),
        address.port(),
    )) {
        // Ports in use in one address family count as in use: no fallback.
        Err(error) if error.kind() != io::ErrorKind::AddrInUse => bind(address),
        bound => bound,
    }
}

/// Filters a name's addresses: an IPv4 socket can't be reached over IPv6.
async fn resolve(name: &str, local: SocketAddr) -> io::Result<Vec<IpAddr>> {
    if let Ok(ip) = name.parse() {
        return Ok(vec![ip]);
    }
    let found = tokio::net::lookup_host((name, 0)).await?;
    let addresses: Vec<_> = found
        .map(|address| address.ip())
        .filter(|ip| local.is_ipv6() || ip.is_ipv4())
        .collect();
    if addresses.is_empty() {
        let why = format!("the public address {name:?} has no IP address that fits {local}");
        return Err(io::Error::new(io::ErrorKind::NotFound, why));
    }
    Ok(addresses)
}

/// Certificate shared by all sessions: its fingerprint identifies the server,
/// not the peer.
fn certificate(crypto: &dyn RTCCryptoProvider) -> io::Result<RTCCertificate> {
    let scheme = rtc::crypto::SignatureScheme::EcdsaP256Sha256;
    let names =
        rtc::peer_connection::certificate::CertificateParams::new(vec!["watchtower".to_owned()]);
    let parameters = names.map_err(io::Error::other)?;
    RTCCertificate::generate(crypto.crypto(), scheme, parameters).map_err(io::Error::other)
}

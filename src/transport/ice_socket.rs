//! Socket of a session on the shared port: a queue of received datagrams, and
//! the route of those sent.
//!
//! webrtc uses it as a socket of its own ([`VirtualSocket`]).

use std::collections::VecDeque;
use std::future::Future;
use std::io::{self, IoSliceMut};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use bytes::Bytes;
use webrtc::runtime::{
    AsyncInterval, AsyncTcpListener, AsyncTcpStream, AsyncUdpSocket, JoinHandle, RecvMeta, Runtime,
    TokioRuntime, Transmit,
};

use watchtower_base::sync::Locked as _;

use super::stun::{self, Protocol, Stun};
use crate::client_hello;
use crate::udp_mux::{Route, UdpMux};

/// Capacity of a viewer's queue, in datagrams. A viewer sends some ten a
/// second; more than this is not control traffic.
const INBOX: usize = 128;
/// Capacity of a publisher's queue, in datagrams: a keyframe of a megabyte.
const PUBLISHER_INBOX: usize = 1024;
/// Maximum number of addresses of a session. A browser with Wi-Fi, cable and
/// VPN, IPv4 and IPv6, has six; a newer one replaces the oldest.
const ADDRESSES: usize = 8;
/// Idle timeout. A viewer responds at least every 2.5 s (RFC 7675, section 5.1:
/// consent), so three consecutive responses were lost.
pub const SILENCE: Duration = Duration::from_secs(8);

#[derive(Debug)]
pub struct IceSocket {
    fragment: String,
    password: String,
    born: Instant,
    /// Time of the last datagram, in milliseconds since `born`.
    last_received: AtomicU64,
    inbox: Mutex<Inbox>,
    capacity: usize,
    peer: Mutex<PeerAddress>,
    /// Credentials after an ICE restart.
    restarted: Mutex<Option<IceCredentials>>,
    closed: AtomicBool,
}

/// Credentials of one generation (RFC 8839, section 5.4).
#[derive(Debug, Clone)]
pub struct IceCredentials {
    pub fragment: String,
    pub password: String,
}

#[derive(Debug, Default)]
struct Inbox {
    datagrams: VecDeque<(Bytes, SocketAddr)>,
    waker: Option<Waker>,
    addresses: VecDeque<SocketAddr>,
    nomination: Nomination,
}

/// Address of the viewer. rtc-ice selects one address permanently; when the
/// viewer's changes, this translates between the two like a NAT.
#[derive(Debug, Default)]
struct PeerAddress {
    /// Address known to webrtc: the last destination of anything but STUN.
    known: Option<SocketAddr>,
    /// Address that media is sent to.
    current: Option<(SocketAddr, Route)>,
    last_received: Option<Instant>,
    /// Other address verified as the viewer's, and the time of its first check.
    pending_move: Option<(SocketAddr, Route, Instant)>,
}

/// Silence at the current address after which a viewer that checks from another
/// one has moved. A browser sends reports every second.
const MOVED: Duration = Duration::from_millis(1500);

impl PeerAddress {
    fn settle(&mut self, now: Instant) {
        let Some((_, _, since)) = &self.pending_move else {
            return;
        };
        if self.last_received.is_some_and(|at| at > *since) {
            self.pending_move = None;
        } else if now.saturating_duration_since(*since) >= MOVED
            && let Some((address, path, _)) = self.pending_move.take()
        {
            self.move_to(address, path, now);
        }
    }

    fn move_to(&mut self, address: SocketAddr, path: Route, now: Instant) {
        self.current = Some((address, path));
        self.last_received = Some(now);
        self.pending_move = None;
    }

    fn is_current(&self, address: SocketAddr) -> bool {
        self.current
            .as_ref()
            .is_some_and(|(known, _)| *known == address)
    }
}

/// rtc-ice does not respond to a check with USE-CANDIDATE until a check of its
/// own has succeeded, and the browser repeats it only 50 ms later. So the last
/// check is kept and delivered again right after the first success.
#[derive(Debug, Default)]
enum Nomination {
    #[default]
    None,
    Asked(Bytes, SocketAddr),
    Done,
}

impl IceSocket {
    /// Socket of a peer that receives media.
    pub fn new(fragment: String, password: String) -> Self {
        Self::with_capacity(fragment, password, INBOX)
    }

    /// Socket of a peer that sends media.
    pub fn of_publisher(fragment: String, password: String) -> Self {
        Self::with_capacity(fragment, password, PUBLISHER_INBOX)
    }

    fn with_capacity(fragment: String, password: String, capacity: usize) -> Self {
        Self {
            fragment,
            password,
            born: Instant::now(),
            last_received: AtomicU64::new(0),
            inbox: Mutex::default(),
            capacity,
            peer: Mutex::default(),
            restarted: Mutex::default(),
            closed: AtomicBool::new(false),
        }
    }

    /// ICE user fragment (RFC 8839, section 5.4).
    pub fn fragment(&self) -> &str {
        &self.fragment
    }

    pub fn password(&self) -> &str {
        &self.password
    }

    /// Sets the credentials of an ICE restart; returns the user fragment of the
    /// one before.
    pub(crate) fn restart(&self, credentials: IceCredentials) -> Option<String> {
        let before = self.restarted.locked().replace(credentials);
        before.map(|before| before.fragment)
    }

    /// Password that belongs to a user fragment of ours, and true if it is of
    /// an ICE restart: webrtc does not know that, so that its checks are
    /// answered here.
    pub(crate) fn password_of(&self, fragment: &str) -> Option<(String, bool)> {
        if fragment == self.fragment {
            return Some((self.password.clone(), false));
        }
        let restarted = self.restarted.locked();
        let of_restart = restarted.as_ref().filter(|one| one.fragment == fragment);
        of_restart.map(|one| (one.password.clone(), true))
    }

    /// Handles an authentic check after an ICE restart: media moves to the path
    /// that it nominates.
    pub(crate) fn checked_again(&self, from: SocketAddr, path: Route, nominated: bool) {
        self.touch();
        let mut peer = self.peer.locked();
        if nominated && peer.known.is_some() && !peer.is_current(from) {
            peer.move_to(from, path, Instant::now());
        }
    }

    fn touch(&self) {
        let last_received = u64::try_from(self.born.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last_received.store(last_received, Ordering::Relaxed);
    }

    /// Route of media, once there is one.
    pub(crate) fn path(&self) -> Option<Route> {
        let mut peer = self.peer.locked();
        if peer.pending_move.is_some() {
            peer.settle(Instant::now());
        }
        peer.current.as_ref().map(|(_, path)| path.clone())
    }

    /// Sets the address that webrtc has selected.
    pub fn follow(&self, address: SocketAddr, path: &Route) {
        let mut peer = self.peer.locked();
        if peer.known != Some(address) {
            peer.known = Some(address);
            peer.move_to(address, path.clone(), Instant::now());
        }
    }

    /// Handles an authentic check from an address: media moves there if the
    /// viewer is silent at its old one. A nomination alone moves nothing, since
    /// an on-path attacker can replay it from elsewhere.
    pub(crate) fn checked(&self, from: SocketAddr, path: Route) {
        let now = Instant::now();
        let mut peer = self.peer.locked();
        if peer.known.is_none() || peer.is_current(from) {
            return;
        }
        if peer
            .pending_move
            .as_ref()
            .is_none_or(|(address, ..)| *address != from)
        {
            peer.pending_move = Some((from, path, now));
        } else {
            peer.settle(now);
        }
    }

    /// Address by which webrtc knows the sender.
    fn alias(&self, from: SocketAddr) -> SocketAddr {
        let mut peer = self.peer.locked();
        if !peer.is_current(from) {
            return from;
        }
        peer.last_received = Some(Instant::now());
        peer.known.unwrap_or(from)
    }

    /// Route to an address that webrtc sends to.
    fn route(&self, to: SocketAddr) -> Option<Route> {
        let path = self.path()?;
        (self.peer.locked().known == Some(to)).then_some(path)
    }

    /// Time since the last datagram was received.
    pub fn silence(&self) -> Duration {
        let last_received = Duration::from_millis(self.last_received.load(Ordering::Relaxed));
        self.born.elapsed().saturating_sub(last_received)
    }

    pub fn is_alive(&self) -> bool {
        self.silence() < SILENCE
    }

    /// True if DTLS was closed. webrtc does not report a close by the viewer (a
    /// closed transport leaves the state connected in the W3C's table), but
    /// responds with an alert of its own, which is detected here. It requires
    /// the session's keys.
    pub fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Relaxed)
    }

    /// Adds an address of the viewer; returns the one it replaces.
    pub(crate) fn learn(&self, address: SocketAddr) -> Option<SocketAddr> {
        let mut inbox = self.inbox.locked();
        inbox.addresses.push_back(address);
        if inbox.addresses.len() > ADDRESSES {
            inbox.addresses.pop_front()
        } else {
            None
        }
    }

    /// Queues a datagram; false if the queue is full, by a stalled reader or a
    /// flood.
    pub(crate) fn put(&self, datagram: Bytes, from: SocketAddr) -> bool {
        self.touch();
        let from = self.alias(from);
        let datagram = match stun::protocol(&datagram) {
            Protocol::Dtls => client_hello::preferring_gcm(datagram),
            _ => datagram,
        };
        let mut inbox = self.inbox.locked();
        if inbox.datagrams.len() >= self.capacity {
            return false;
        }
        let again = inbox.nomination.note(&datagram, from);
        inbox.datagrams.push_back((datagram, from));
        inbox.datagrams.extend(again);
        let waker = inbox.waker.take();
        drop(inbox);
        if let Some(waker) = waker {
            waker.wake();
        }
        true
    }
}

impl Nomination {
    /// Check to be delivered again after this datagram, with its sender.
    fn note(&mut self, datagram: &Bytes, from: SocketAddr) -> Option<(Bytes, SocketAddr)> {
        if matches!(self, Self::Done) || stun::protocol(datagram) != Protocol::Stun {
            return None;
        }
        match stun::stun(datagram)? {
            Stun::BindingRequest { .. } => {
                *self = Self::Asked(datagram.clone(), from);
                None
            }
            Stun::BindingSuccess => match std::mem::take(self) {
                Self::Asked(request, asker) if asker == from => {
                    *self = Self::Done;
                    Some((request, asker))
                }
                other => {
                    *self = other;
                    None
                }
            },
            Stun::Other => None,
        }
    }
}

/// Address webrtc considers the socket's.
#[derive(Debug)]
struct VirtualSocket {
    line: Arc<IceSocket>,
    port: Arc<UdpMux>,
    label: SocketAddr,
}

impl AsyncUdpSocket for VirtualSocket {
    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.label)
    }

    /// Never pending: datagrams beyond the socket's buffer are lost, as on any
    /// network; DTLS and RTCP retransmit.
    fn poll_send(&self, _: &mut Context<'_>, transmit: &Transmit<'_>) -> Poll<io::Result<usize>> {
        let path = self.port.path(transmit.destination);
        if stun::protocol(transmit.contents) != Protocol::Stun {
            self.line.follow(transmit.destination, &path);
        }
        let path = self.line.route(transmit.destination).unwrap_or(path);
        if stun::is_encrypted_alert(transmit.contents) {
            self.line.closed.store(true, Ordering::Relaxed);
        }
        let segment = transmit.segment_size.unwrap_or(transmit.contents.len());
        let _ = self.port.send(&path, transmit.contents, segment);
        Poll::Ready(Ok(transmit.contents.len()))
    }

    fn poll_recv(
        &self,
        context: &mut Context<'_>,
        buffers: &mut [IoSliceMut<'_>],
        metas: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        let (Some(buffer), Some(meta)) = (buffers.first_mut(), metas.first_mut()) else {
            return Poll::Ready(Ok(0));
        };
        let mut inbox = self.line.inbox.locked();
        let Some((datagram, from)) = inbox.datagrams.pop_front() else {
            inbox.waker = Some(context.waker().clone());
            return Poll::Pending;
        };
        drop(inbox);
        let length = datagram.len().min(buffer.len());
        buffer[..length].copy_from_slice(&datagram[..length]);
        *meta = RecvMeta::default();
        meta.addr = from;
        meta.len = length;
        meta.stride = length.max(1);
        Poll::Ready(Ok(1))
    }
}

/// Tokio runtime with the session's [`VirtualSocket`] in place of any socket
/// webrtc opens. It never opens a connection.
#[derive(Debug)]
pub struct IceSocketRuntime {
    line: Arc<IceSocket>,
    port: Arc<UdpMux>,
    tokio: TokioRuntime,
}

impl IceSocketRuntime {
    pub fn new(line: Arc<IceSocket>, port: Arc<UdpMux>) -> Self {
        Self {
            line,
            port,
            tokio: TokioRuntime,
        }
    }
}

type SocketFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

impl Runtime for IceSocketRuntime {
    fn spawn(&self, future: SocketFuture<'static, ()>) -> Box<dyn JoinHandle> {
        self.tokio.spawn(future)
    }

    /// Only the address of the given socket is used, by which webrtc
    /// distinguishes its sockets; the socket itself is closed here.
    fn wrap_udp_socket(&self, socket: std::net::UdpSocket) -> io::Result<Arc<dyn AsyncUdpSocket>> {
        Ok(Arc::new(VirtualSocket {
            line: Arc::clone(&self.line),
            port: Arc::clone(&self.port),
            label: socket.local_addr()?,
        }))
    }

    fn wrap_tcp_listener(&self, _: std::net::TcpListener) -> io::Result<Arc<dyn AsyncTcpListener>> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn connect_tcp<'a>(
        &'a self,
        _: SocketAddr,
    ) -> SocketFuture<'a, io::Result<Arc<dyn AsyncTcpStream>>> {
        Box::pin(async { Err(io::ErrorKind::Unsupported.into()) })
    }

    fn resolve_host<'a>(&'a self, _: &'a str) -> SocketFuture<'a, io::Result<Vec<SocketAddr>>> {
        Box::pin(async { Err(io::ErrorKind::Unsupported.into()) })
    }

    fn sleep(&self, duration: Duration) -> SocketFuture<'static, ()> {
        self.tokio.sleep(duration)
    }

    fn interval(&self, period: Duration) -> Box<dyn AsyncInterval> {
        self.tokio.interval(period)
    }

    fn block_on(&self, future: Pin<Box<dyn Future<Output = ()> + '_>>) {
        self.tokio.block_on(future);
    }
}

#[cfg(test)]
mod tests {
    use rtc::crypto::default_provider;
    use rtc::ice::attributes::use_candidate::UseCandidateAttr;
    use rtc::stun::attributes::ATTR_USERNAME;
    use rtc::stun::integrity::MessageIntegrity;
    use rtc::stun::message::{BINDING_REQUEST, Message, Setter, TransactionId};
    use rtc::stun::textattrs::Username;

    use super::*;

    fn check(password: &str, nominate: bool) -> Vec<u8> {
        let crypto = default_provider().expect("ring is built in");
        let mut parts: Vec<Box<dyn Setter>> = vec![
            Box::new(BINDING_REQUEST),
            Box::new(TransactionId::new()),
            Box::new(Username::new(ATTR_USERNAME, "server:viewer".to_owned())),
        ];
        if nominate {
            parts.push(Box::<UseCandidateAttr>::default());
        }
        parts.push(Box::new(
            MessageIntegrity::new_short_term_integrity_with_provider(
                password.to_owned(),
                crypto.crypto(),
            ),
        ));
        let mut message = Message::new();
        message.build(&parts).expect("built");
        message.raw.to_vec()
    }

    fn rig() -> (UdpMux, Arc<IceSocket>, SocketAddr, SocketAddr) {
        let crypto = default_provider().expect("ring is built in");
        let here = "127.0.0.1:0".parse().expect("an address");
        let port = UdpMux::bind(here, crypto, Arc::default()).expect("bound");
        let line = Arc::new(IceSocket::new("server".to_owned(), "password".to_owned()));
        port.add(&line);
        let old = "192.0.2.1:1000".parse().expect("an address");
        let new = "198.51.100.7:2000".parse().expect("an address");
        assert!(port.deliver(&check("password", false), old));
        line.follow(old, &Route::Udp(old));
        (port, line, old, new)
    }

    fn goes_to(line: &IceSocket) -> Option<SocketAddr> {
        match line.path()? {
            Route::Udp(to) => Some(to),
            Route::Tcp(_) => None,
        }
    }

    #[tokio::test]
    async fn media_follows_authentic_checks_once_the_old_address_is_silent() {
        let (port, line, old, new) = rig();
        assert!(!port.deliver(&check("guessed", true), new));
        std::thread::sleep(MOVED);
        assert!(!port.deliver(&check("guessed", true), new));
        assert_eq!(goes_to(&line), Some(old));
        assert!(port.deliver(&check("password", true), new));
        assert_eq!(goes_to(&line), Some(old));
        std::thread::sleep(MOVED);
        assert_eq!(goes_to(&line), Some(new));
        // webrtc continues with the address it knows, in both directions.
        assert_eq!(line.alias(new), old);
        line.follow(old, &Route::Udp(old));
        assert_eq!(goes_to(&line), Some(new));
        let Some(Route::Udp(to)) = line.route(old) else {
            panic!("no way");
        };
        assert_eq!(to, new);
    }

    #[tokio::test]
    async fn a_replayed_check_moves_nothing_while_the_viewer_sends() {
        let (port, line, old, new) = rig();
        assert!(port.deliver(&check("password", false), new));
        assert_eq!(goes_to(&line), Some(old));
        // A second route is checked too while the first is in use.
        std::thread::sleep(Duration::from_millis(5));
        assert!(port.deliver(&[0x81, 201, 0, 1, 0, 0, 0, 0], old));
        std::thread::sleep(MOVED);
        assert_eq!(goes_to(&line), Some(old));
        assert!(port.deliver(&check("password", false), new));
        std::thread::sleep(MOVED);
        assert_eq!(goes_to(&line), Some(new));
    }
}

//! One session's end of the shared port: what came for it, and where what it
//! sends goes.
//!
//! To webrtc it looks like a socket of its own ([`Wire`]).

use std::collections::VecDeque;
use std::future::Future;
use std::io::{self, IoSliceMut};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use bytes::Bytes;
use webrtc::runtime::{
    AsyncInterval, AsyncTcpListener, AsyncTcpStream, AsyncUdpSocket, JoinHandle, RecvMeta, Runtime,
    TokioRuntime, Transmit,
};

use super::port::{Path, Port};
use super::stun::{self, Protocol, Stun};

/// Datagrams waiting for a session. A viewer sends some ten a second; more
/// than this is not control traffic.
const INBOX: usize = 128;
/// Addresses a session may have. A browser with Wi-Fi, cable and VPN, IPv4 and
/// IPv6, has six; a newer one takes the place of the oldest.
const ADDRESSES: usize = 8;
/// A viewer answers at least every 2.5 s (RFC 7675, section 5.1: consent), so
/// three in a row were lost.
pub(super) const SILENCE: Duration = Duration::from_secs(8);

#[derive(Debug)]
pub(super) struct Line {
    fragment: String,
    password: String,
    born: Instant,
    /// Milliseconds since `born`.
    heard: AtomicU64,
    inbox: Mutex<Inbox>,
    /// Where media goes: where webrtc last sent something other than STUN.
    peer: Mutex<Option<(SocketAddr, Path)>>,
    closed: AtomicBool,
}

#[derive(Debug, Default)]
struct Inbox {
    datagrams: VecDeque<(Bytes, SocketAddr)>,
    waker: Option<Waker>,
    addresses: VecDeque<SocketAddr>,
    nomination: Nomination,
}

/// rtc-ice leaves a check with USE-CANDIDATE unanswered until a check of its
/// own has succeeded, and the browser repeats it only 50 ms later. So the last
/// check is kept and put in again right behind the first success.
#[derive(Debug, Default)]
enum Nomination {
    #[default]
    None,
    Asked(Bytes, SocketAddr),
    Done,
}

impl Line {
    pub(super) fn new(fragment: String, password: String) -> Self {
        Self {
            fragment,
            password,
            born: Instant::now(),
            heard: AtomicU64::new(0),
            inbox: Mutex::default(),
            peer: Mutex::default(),
            closed: AtomicBool::new(false),
        }
    }

    /// The ICE user fragment (RFC 8839, section 5.4).
    pub(super) fn fragment(&self) -> &str {
        &self.fragment
    }

    pub(super) fn password(&self) -> &str {
        &self.password
    }

    /// The way media goes, once there is one.
    pub(super) fn path(&self) -> Option<Path> {
        lock(&self.peer).as_ref().map(|(_, path)| path.clone())
    }

    /// Media goes this way from now on.
    pub(super) fn follow(&self, address: SocketAddr, path: &Path) {
        let mut peer = lock(&self.peer);
        if peer.as_ref().is_none_or(|(known, _)| *known != address) {
            *peer = Some((address, path.clone()));
        }
    }

    /// How long nothing has come.
    pub(super) fn silence(&self) -> Duration {
        let heard = Duration::from_millis(self.heard.load(Ordering::Relaxed));
        self.born.elapsed().saturating_sub(heard)
    }

    pub(super) fn is_alive(&self) -> bool {
        self.silence() < SILENCE
    }

    /// Whether DTLS was closed. webrtc tells nobody that the viewer did (a
    /// closed transport leaves a connection connected in the W3C's table), but
    /// answers it with an alert of its own, which is what we see. Nobody
    /// without the session's keys can bring that about.
    pub(super) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Relaxed)
    }

    /// Notes an address of the viewer; returns the one it had to give up.
    pub(super) fn learn(&self, address: SocketAddr) -> Option<SocketAddr> {
        let mut inbox = lock(&self.inbox);
        inbox.addresses.push_back(address);
        if inbox.addresses.len() > ADDRESSES {
            inbox.addresses.pop_front()
        } else {
            None
        }
    }

    /// False when there is no room: nobody reads, or there is a flood.
    pub(super) fn put(&self, datagram: Bytes, from: SocketAddr) -> bool {
        let heard = u64::try_from(self.born.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.heard.store(heard, Ordering::Relaxed);
        let mut inbox = lock(&self.inbox);
        if inbox.datagrams.len() >= INBOX {
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
    /// What is to be put in again behind this datagram.
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

/// The socket webrtc believes to have.
#[derive(Debug)]
struct Wire {
    line: Arc<Line>,
    port: Arc<Port>,
    label: SocketAddr,
}

impl AsyncUdpSocket for Wire {
    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.label)
    }

    /// Never pending: what the socket has no room for is lost, as on any
    /// network, and DTLS and RTCP repeat themselves.
    fn poll_send(&self, _: &mut Context<'_>, transmit: &Transmit<'_>) -> Poll<io::Result<usize>> {
        let path = self.port.path(transmit.destination);
        if stun::protocol(transmit.contents) != Protocol::Stun {
            self.line.follow(transmit.destination, &path);
        }
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
        let mut inbox = lock(&self.line.inbox);
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

/// Tokio, with the session's [`Wire`] in place of any socket webrtc opens. It
/// never connects to anybody.
#[derive(Debug)]
pub(super) struct LineRuntime {
    line: Arc<Line>,
    port: Arc<Port>,
    tokio: TokioRuntime,
}

impl LineRuntime {
    pub(super) fn new(line: Arc<Line>, port: Arc<Port>) -> Self {
        Self {
            line,
            port,
            tokio: TokioRuntime,
        }
    }
}

type Boxed<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

impl Runtime for LineRuntime {
    fn spawn(&self, future: Boxed<'static, ()>) -> Box<dyn JoinHandle> {
        self.tokio.spawn(future)
    }

    /// The socket given only lends its address, which tells webrtc's sockets
    /// apart; it is closed here.
    fn wrap_udp_socket(&self, socket: std::net::UdpSocket) -> io::Result<Arc<dyn AsyncUdpSocket>> {
        Ok(Arc::new(Wire {
            line: Arc::clone(&self.line),
            port: Arc::clone(&self.port),
            label: socket.local_addr()?,
        }))
    }

    fn wrap_tcp_listener(&self, _: std::net::TcpListener) -> io::Result<Arc<dyn AsyncTcpListener>> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn connect_tcp<'a>(&'a self, _: SocketAddr) -> Boxed<'a, io::Result<Arc<dyn AsyncTcpStream>>> {
        Box::pin(async { Err(io::ErrorKind::Unsupported.into()) })
    }

    fn resolve_host<'a>(&'a self, _: &'a str) -> Boxed<'a, io::Result<Vec<SocketAddr>>> {
        Box::pin(async { Err(io::ErrorKind::Unsupported.into()) })
    }

    fn sleep(&self, duration: Duration) -> Boxed<'static, ()> {
        self.tokio.sleep(duration)
    }

    fn interval(&self, period: Duration) -> Box<dyn AsyncInterval> {
        self.tokio.interval(period)
    }

    fn block_on(&self, future: Pin<Box<dyn Future<Output = ()> + '_>>) {
        self.tokio.block_on(future);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

//! UDP port shared by all viewers.
//!
//! A datagram is assigned to a session's [`IceSocket`] by its source address;
//! an address is learnt only from a connectivity check that names the session's
//! user fragment and carries the right message integrity. Datagrams without a
//! session are counted and dropped.

use std::collections::HashMap;
use std::io::{self, IoSliceMut};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

use bytes::Bytes;
use rtc::crypto::RTCCryptoProvider;
use rtc::stun::fingerprint::FINGERPRINT;
use rtc::stun::integrity::MessageIntegrity;
use rtc::stun::message::{BINDING_SUCCESS, Message, Setter};
use rtc::stun::xoraddr::XorMappedAddress;
use socket2::{Domain, Socket, Type};
use tokio::io::Interest;
use tokio::net::UdpSocket;
use webrtc::runtime::{BATCH_SIZE, RecvMeta, Transmit, UdpSockRef, UdpSocketState};

use super::stun::{self, Protocol, Stun};
use super::tcp::TcpConn;
use crate::ice_socket::{IceCredentials, IceSocket};
use crate::metrics::TransportMetrics;

/// Send buffer size in bytes. A keyframe for a hundred viewers is 15 MB; the
/// kernel grants what its limits allow.
const SOCKET_BUFFER: usize = 8 << 20;
/// Kernel limit on segments of one send call.
const MOST_SEGMENTS: usize = 64;

/// Shared socket and its sessions.
pub struct UdpMux {
    socket: UdpSocket,
    state: UdpSocketState,
    local: SocketAddr,
    table: RwLock<DemuxTable>,
    crypto: Arc<dyn RTCCryptoProvider>,
    metrics: Arc<TransportMetrics>,
}

#[derive(Default)]
struct DemuxTable {
    by_fragment: HashMap<String, Arc<IceSocket>>,
    by_address: HashMap<SocketAddr, Arc<IceSocket>>,
    /// TCP connections by remote address.
    tcp_connections: HashMap<SocketAddr, TcpConn>,
}

/// Receiver of a datagram.
enum ClaimedDatagram {
    Of(Arc<IceSocket>),
    /// Answered by the port itself.
    Answered,
}

/// Route to a viewer.
#[derive(Debug, Clone)]
pub enum Route {
    Udp(SocketAddr),
    Tcp(TcpConn),
}

impl std::fmt::Debug for UdpMux {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Port({})", self.local)
    }
}

impl UdpMux {
    pub fn bind(
        address: SocketAddr,
        crypto: Arc<dyn RTCCryptoProvider>,
        metrics: Arc<TransportMetrics>,
    ) -> io::Result<Self> {
        let socket = Socket::new(Domain::for_address(address), Type::DGRAM, None)?;
        if address.is_ipv6() {
            // Whatever the system's default: `[::]` serves both address
            // families.
            socket.set_only_v6(false)?;
        }
        socket.set_nonblocking(true)?;
        socket.bind(&address.into())?;
        let socket = UdpSocket::from_std(socket.into())?;
        let state = UdpSocketState::new(UdpSockRef::from(&socket))?;
        // A smaller buffer is slower, not wrong.
        let _ = state.set_send_buffer_size(UdpSockRef::from(&socket), SOCKET_BUFFER);
        let _ = state.set_recv_buffer_size(UdpSockRef::from(&socket), SOCKET_BUFFER);
        Ok(Self {
            local: socket.local_addr()?,
            socket,
            state,
            table: RwLock::default(),
            crypto,
            metrics,
        })
    }

    pub fn local_addr(&self) -> SocketAddr {
        self.local
    }

    /// Maximum number of packets (GSO segments) in one send.
    pub(crate) fn most_segments(&self) -> usize {
        self.state.max_gso_segments().min(MOST_SEGMENTS)
    }

    /// Addresses by which viewers may reach this port; loopback only on
    /// request, as it is useful on this machine alone. IPv6's `[::]` includes
    /// all IPv4 addresses, which the kernel maps into it (RFC 4291, section
    /// 2.5.5.2).
    pub fn addresses(&self, loopback: bool) -> Vec<IpAddr> {
        let local = self.local.ip();
        if !local.is_unspecified() {
            return vec![local];
        }
        let interfaces = rtc::shared::ifaces::ifaces().unwrap_or_default();
        let mut addresses: Vec<_> = interfaces
            .iter()
            .filter_map(|interface| Some(interface.addr?.ip()))
            .filter(|ip| (local.is_ipv6() || ip.is_ipv4()) && !is_link_local(ip))
            .filter(|ip| !ip.is_loopback() && !ip.is_unspecified())
            .collect();
        if loopback || addresses.is_empty() {
            addresses.push(Ipv4Addr::LOCALHOST.into());
            if local.is_ipv6() {
                addresses.push(Ipv6Addr::LOCALHOST.into());
            }
        }
        addresses.dedup();
        addresses
    }

    /// Sends packets of `segment` bytes each (the last may be shorter) in one
    /// system call. At most [`most_segments`](Self::most_segments).
    pub(crate) fn send(&self, path: &Route, packets: &[u8], segment: usize) -> io::Result<()> {
        let to = match path {
            Route::Udp(to) => *to,
            Route::Tcp(conn) => return conn.send(packets, segment),
        };
        let transmit = Transmit {
            destination: to,
            ecn: None,
            contents: packets,
            segment_size: (segment < packets.len()).then_some(segment),
            src_ip: None,
        };
        // Nothing waits for room here (paced packets are retried anyway), so
        // tokio's readiness is not used.
        self.state
            .try_send(UdpSockRef::from(&self.socket), &transmit)
    }

    /// Route to an address from which viewers have sent.
    pub(crate) fn path(&self, to: SocketAddr) -> Route {
        match self.read().tcp_connections.get(&to) {
            Some(conn) => Route::Tcp(conn.clone()),
            None => Route::Udp(to),
        }
    }

    /// Registers a connection; false when its address is in use.
    pub(crate) fn plug(&self, from: SocketAddr, conn: TcpConn) -> bool {
        let mut table = self.write();
        if table.by_address.contains_key(&from) {
            return false;
        }
        table.tcp_connections.insert(from, conn).is_none()
    }

    pub(crate) fn unplug(&self, from: SocketAddr) {
        let mut table = self.write();
        table.tcp_connections.remove(&from);
        table.by_address.remove(&from);
    }

    pub fn add(&self, line: &Arc<IceSocket>) {
        self.write()
            .by_fragment
            .insert(line.fragment().to_owned(), Arc::clone(line));
    }

    /// Gives a session new credentials, for an ICE restart (RFC 8445, section
    /// 9). Those of the session's beginning stay valid.
    pub fn restart(&self, line: &Arc<IceSocket>, credentials: IceCredentials) {
        let fragment = credentials.fragment.clone();
        let mut table = self.write();
        // The session may have ended.
        if !table.by_fragment.contains_key(line.fragment()) {
            return;
        }
        if let Some(before) = line.restart(credentials) {
            table.by_fragment.remove(&before);
        }
        table.by_fragment.insert(fragment, Arc::clone(line));
    }

    pub fn remove(&self, line: &Arc<IceSocket>) {
        let mut table = self.write();
        table
            .by_fragment
            .retain(|_, other| !Arc::ptr_eq(line, other));
        table
            .by_address
            .retain(|_, other| !Arc::ptr_eq(line, other));
    }

    /// Dispatches received datagrams until dropped.
    pub async fn receive(&self) {
        let mut buffers = vec![vec![0; 64 << 10]; BATCH_SIZE.min(16)];
        let mut metas = vec![RecvMeta::default(); buffers.len()];
        loop {
            if self.socket.readable().await.is_err() {
                return;
            }
            let mut slices: Vec<_> = buffers
                .iter_mut()
                .map(|buffer| IoSliceMut::new(buffer))
                .collect();
            let received = self.socket.try_io(Interest::READABLE, || {
                self.state
                    .recv(UdpSockRef::from(&self.socket), &mut slices, &mut metas)
            });
            match received {
                Ok(count) => {
                    for (buffer, meta) in buffers.iter().zip(&metas).take(count) {
                        // Messages may hold several datagrams of one sender
                        // (GRO).
                        for datagram in buffer[..meta.len].chunks(meta.stride.max(1)) {
                            self.deliver(datagram, meta.addr);
                        }
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                // Errors from a viewer's ICMP must not make this loop spin.
                Err(_) => tokio::time::sleep(Duration::from_millis(1)).await,
            }
        }
    }

    /// Session of a datagram; its address is added to the table if the datagram
    /// proves that.
    fn claim(&self, datagram: &[u8], from: SocketAddr) -> Option<ClaimedDatagram> {
        let known = self.read().by_address.get(&from).cloned();
        match stun::protocol(datagram) {
            Protocol::Dtls | Protocol::Rtp => known.map(ClaimedDatagram::Of),
            Protocol::Other => None,
            Protocol::Stun => match stun::stun(datagram)? {
                Stun::BindingRequest { local } => {
                    let line = self.read().by_fragment.get(local).cloned()?;
                    let (password, restarted) = line.password_of(local)?;
                    if !self.is_authentic(datagram, &password) {
                        return None;
                    }
                    let claimed = match known {
                        Some(known) if Arc::ptr_eq(&known, &line) => Some(known),
                        // The address of a live session can't be taken over.
                        Some(known) if known.is_alive() => None,
                        _ => {
                            self.learn(from, &line);
                            Some(Arc::clone(&line))
                        }
                    };
                    let claimed = claimed?;
                    if restarted {
                        let nominated = stun::nominates(datagram);
                        line.checked_again(from, self.path(from), nominated);
                        self.answer_check(datagram, from, password);
                        return Some(ClaimedDatagram::Answered);
                    }
                    claimed.checked(from, self.path(from));
                    Some(ClaimedDatagram::Of(claimed))
                }
                Stun::BindingSuccess | Stun::Other => known.map(ClaimedDatagram::Of),
            },
        }
    }

    /// Delivers a datagram; false without a session, which is counted.
    pub(crate) fn deliver(&self, datagram: &[u8], from: SocketAddr) -> bool {
        let taken = match self.claim(datagram, from) {
            Some(ClaimedDatagram::Of(line)) => line.put(Bytes::copy_from_slice(datagram), from),
            Some(ClaimedDatagram::Answered) => true,
            None => false,
        };
        if !taken {
            self.metrics.dropped_datagrams.inc();
        }
        taken
    }

    /// Answers a connectivity check (RFC 8445, section 7.3).
    fn answer_check(&self, request: &[u8], from: SocketAddr, password: String) {
        let mut asked = Message::new();
        if asked.write(request).is_err() {
            return;
        }
        let integrity = MessageIntegrity::new_short_term_integrity_with_provider(
            password,
            self.crypto.crypto(),
        );
        let parts: [Box<dyn Setter + '_>; 5] = [
            Box::new(BINDING_SUCCESS),
            Box::new(asked.transaction_id),
            Box::new(XorMappedAddress {
                ip: from.ip().to_canonical(),
                port: from.port(),
            }),
            Box::new(integrity),
            Box::new(FINGERPRINT),
        ];
        let mut answer = Message::new();
        if answer.build(&parts).is_ok() {
            // Checks are repeated.
            let _ = self.send(&self.path(from), &answer.raw, answer.raw.len());
        }
    }

    fn learn(&self, from: SocketAddr, line: &Arc<IceSocket>) {
        let mut table = self.write();
        if let Some(old) = line.learn(from) {
            table.by_address.remove(&old);
        }
        // The session may have ended since the lookup above.
        if table.by_fragment.contains_key(line.fragment()) {
            table.by_address.insert(from, Arc::clone(line));
        }
    }

    fn is_authentic(&self, datagram: &[u8], password: &str) -> bool {
        let mut message = Message::new();
        let key = password.as_bytes();
        message.write(datagram).is_ok()
            && MessageIntegrity::check(&mut message, key, self.crypto.crypto()).is_ok()
    }

    fn read(&self) -> RwLockReadGuard<'_, DemuxTable> {
        self.table.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, DemuxTable> {
        self.table.write().unwrap_or_else(PoisonError::into_inner)
    }
}

fn is_link_local(ip: &IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    }
}

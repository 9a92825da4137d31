//! ICE over TCP (RFC 6544) for networks that block UDP, on the same port number
//! and with the same sessions.
//!
//! Frames (RFC 4571) are treated like datagrams from the connection's address;
//! output is queued in a bounded [`TcpConn`]. Passive only: the server never
//! connects.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use socket2::{Domain, Socket, Type};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use watchtower_base::accept::accept_until;
use watchtower_base::connection_limit::{Caps, ConnectionLimiter};

use crate::udp_mux::UdpMux;

/// Queue capacity per viewer in bytes: 0.8 s at 2.5 Mb/s, above any burst to a
/// viewer.
const PIPE_BYTES: usize = 256 << 10;
/// Size of the kernel's send buffer in bytes. By default it holds megabytes for
/// a viewer that does not read, which are many seconds of delay when it does.
const KERNEL_BYTES: u32 = 256 << 10;
/// Backlog of the listener.
const BACKLOG: u32 = 1024;
/// Maximum frame size in bytes. A viewer sends checks, handshakes and feedback;
/// all fit into a datagram.
pub const MOST_FRAME: usize = 2048;
/// Idle timeout. A viewer sends its first check once connected, and another
/// every 2.5 s.
const FIRST_FRAME: Duration = Duration::from_secs(5);
const SILENCE: Duration = Duration::from_secs(15);
/// Maximum number of connections, with and without a session: an office behind
/// one address has many viewers, but no address may occupy all slots.
pub const CAPS: Caps = Caps {
    per_address: 256,
    total: 2048,
    spares_loopback: true,
};

/// Connections inherit the listener's buffer sizes.
pub fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    if address.is_ipv6() {
        // As for the UDP port.
        socket.set_only_v6(false)?;
    }
    socket.set_nonblocking(true)?;
    let socket = TcpSocket::from_std_stream(socket.into());
    socket.set_reuseaddr(true)?;
    socket.set_send_buffer_size(KERNEL_BYTES)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Accepts connections until dropped.
pub async fn accept(listener: &TcpListener, port: &Arc<UdpMux>, caps: Caps) {
    let admission = Arc::new(ConnectionLimiter::new(caps));
    let admit = |stream: TcpStream, from: SocketAddr| {
        // Without a free slot the connection is closed here.
        let place = admission.admit(from.ip()).ok()?;
        let port = Arc::clone(port);
        Some(async move {
            serve(stream, from, &port).await;
            drop(place);
        })
    };
    let kind = "a WebRTC connection over TCP";
    accept_until(listener, kind, &CancellationToken::new(), admit, || {}).await;
}

async fn serve(stream: TcpStream, from: SocketAddr, port: &Arc<UdpMux>) {
    let _ = stream.set_nodelay(true);
    let (reader, writer) = stream.into_split();
    let (conn, queue) = TcpConn::new();
    let Some(_plugged) = TcpConnGuard::new(port, from, conn.clone()) else {
        return;
    };
    tokio::select! {
        () = read(BufReader::new(reader), from, port) => {}
        () = write(writer, queue, &conn) => {}
    }
}

/// Reads frames until the connection closes, sends one that is not a viewer's,
/// or is idle for too long.
async fn read(mut reader: BufReader<OwnedReadHalf>, from: SocketAddr, port: &UdpMux) {
    let mut frame = Vec::new();
    let mut patience = FIRST_FRAME;
    while let Ok(Ok(true)) = timeout(patience, read_frame(&mut reader, &mut frame)).await {
        if !port.deliver(&frame, from) && patience == FIRST_FRAME {
            return;
        }
        patience = SILENCE;
    }
}

/// Reads a frame; false if it is longer than any viewer's.
pub async fn read_frame(
    reader: &mut (impl AsyncRead + Unpin),
    frame: &mut Vec<u8>,
) -> io::Result<bool> {
    let length = usize::from(reader.read_u16().await?);
    if length > MOST_FRAME {
        return Ok(false);
    }
    frame.resize(length, 0);
    reader.read_exact(frame).await?;
    Ok(true)
}

async fn write(
    mut writer: OwnedWriteHalf,
    mut queue: mpsc::UnboundedReceiver<Vec<u8>>,
    conn: &TcpConn,
) {
    while let Some(frames) = queue.recv().await {
        if writer.write_all(&frames).await.is_err() {
            return;
        }
        conn.waiting.fetch_sub(frames.len(), Ordering::Relaxed);
    }
}

/// Bounded write queue of one connection.
#[derive(Debug, Clone)]
pub struct TcpConn {
    queue: mpsc::UnboundedSender<Vec<u8>>,
    waiting: Arc<AtomicUsize>,
}

impl TcpConn {
    fn new() -> (Self, mpsc::UnboundedReceiver<Vec<u8>>) {
        let (queue, receiver) = mpsc::unbounded_channel();
        let conn = Self {
            queue,
            waiting: Arc::default(),
        };
        (conn, receiver)
    }

    /// Queues packets of `segment` bytes each, the last perhaps shorter;
    /// `WouldBlock` when the queue is full.
    pub(crate) fn send(&self, packets: &[u8], segment: usize) -> io::Result<()> {
        let count = packets.len().div_ceil(segment.max(1));
        let size = packets.len() + 2 * count;
        if self.waiting.load(Ordering::Relaxed) + size > PIPE_BYTES {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let mut frames = Vec::with_capacity(size);
        for packet in packets.chunks(segment.max(1)) {
            let length = u16::try_from(packet.len()).map_err(io::Error::other)?;
            frames.extend_from_slice(&length.to_be_bytes());
            frames.extend_from_slice(packet);
        }
        self.waiting.fetch_add(size, Ordering::Relaxed);
        self.queue
            .send(frames)
            .map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}

/// Registration of a connection at the port, until dropped.
struct TcpConnGuard<'a> {
    port: &'a UdpMux,
    from: SocketAddr,
}

impl<'a> TcpConnGuard<'a> {
    /// Registers a connection; `None` when that address is in use over UDP.
    fn new(port: &'a UdpMux, from: SocketAddr, conn: TcpConn) -> Option<Self> {
        port.plug(from, conn).then_some(Self { port, from })
    }
}

impl Drop for TcpConnGuard<'_> {
    fn drop(&mut self) {
        self.port.unplug(self.from);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// True if the server has closed the connection.
    async fn is_closed(socket: &mut TcpStream, within: Duration) -> bool {
        let mut byte = [0];
        let read = timeout(within, socket.read(&mut byte)).await;
        matches!(read, Ok(Ok(0) | Err(_)))
    }

    #[tokio::test]
    async fn one_address_does_not_get_all_places() {
        let crypto = rtc::crypto::default_provider().expect("one");
        let here = "127.0.0.1:0".parse().expect("an address");
        let port = Arc::new(UdpMux::bind(here, crypto, Arc::default()).expect("bound"));
        let listener = listen(here).expect("bound");
        let address = listener.local_addr().expect("bound");
        let caps = Caps {
            per_address: 2,
            total: 3,
            spares_loopback: false,
        };
        let serving = tokio::spawn(async move { accept(&listener, &port, caps).await });
        let from = async |ip: &str| {
            let socket = TcpSocket::new_v4().expect("a socket");
            let ip = format!("{ip}:0").parse().expect("an address");
            socket.bind(ip).expect("loopback");
            socket.connect(address).await.expect("it listens")
        };
        let mut held = [from("127.0.0.2").await, from("127.0.0.2").await];
        let mut third = from("127.0.0.2").await;
        assert!(is_closed(&mut third, FIRST_FRAME / 2).await);
        let mut other = from("127.0.0.3").await;
        let soon = Duration::from_millis(200);
        assert!(!is_closed(&mut other, soon).await);
        for held in &mut held {
            assert!(!is_closed(held, soon).await);
        }
        serving.abort();
    }

    #[test]
    fn a_pipe_frames_packets_and_is_bounded() {
        let (conn, mut queue) = TcpConn::new();
        conn.send(&[1, 1, 1, 2, 2], 3).expect("room");
        let frames = queue.try_recv().expect("sent");
        assert_eq!(frames, [0, 3, 1, 1, 1, 0, 2, 2, 2]);
        let mut taken = 0;
        while conn.send(&[0; 60_000], 1200).is_ok() {
            taken += 1;
        }
        assert_eq!(taken, 4);
    }
}

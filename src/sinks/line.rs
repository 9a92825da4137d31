//! Syslog connection, and tracking of what the receiver has read.
//!
//! Syslog has no acknowledgements. Observable is that the receiver's kernel has
//! acknowledged every byte (`SIOCOUTQ`; for TLS the records), and that no error
//! followed: no close, no reset, no TLS alert. In TLS 1.3 a client may write
//! before it is rejected, so the read half is polled all the time. Frames that
//! meet both conditions count as delivered.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};
use tokio::sync::watch;
use tokio::time::{Instant, timeout};

/// Time without an error after which acknowledged bytes count as delivered.
const GRACE: Duration = Duration::from_secs(1);
/// Polling interval of the acknowledged bytes.
const POLL_EVERY: Duration = Duration::from_millis(50);
/// Time to read the receiver's reason for closing when a write fails.
const CLOSE_REASON_WITHIN: Duration = Duration::from_millis(300);

pub(super) trait ByteStream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> ByteStream for T {}

/// Connection task's handle. The task ends with its connection, or when this is
/// dropped and everything is written.
pub(super) struct SyslogConnection {
    frames: UnboundedSender<Bytes>,
    progress: watch::Receiver<SendProgress>,
    reported: u64,
}

#[derive(Debug, Clone, Default)]
struct SendProgress {
    taken: u64,
    end: Option<SyslogDisconnect>,
}

/// Reason a connection ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SyslogDisconnect {
    pub(super) why: String,
    /// The receiver had not read everything.
    pub(super) is_reset: bool,
}

impl SyslogConnection {
    /// Starts the connection's task. `stream` is carried by the socket that
    /// `gauge` measures. After `patience` without any progress it counts as
    /// broken.
    pub(super) fn start(
        stream: Box<dyn ByteStream>,
        gauge: SocketMeter,
        patience: Duration,
    ) -> Self {
        let (frames, waiting) = mpsc::unbounded_channel();
        let (progress, updates) = watch::channel(SendProgress::default());
        tokio::spawn(carry(stream, gauge, waiting, progress, patience));
        Self {
            frames,
            progress: updates,
            reported: 0,
        }
    }

    pub(super) fn send(&self, frames: Bytes) {
        // The connection may have ended, which is reported separately.
        drop(self.frames.send(frames));
    }

    pub(super) fn has_ended(&self) -> bool {
        self.progress.borrow().end.is_some()
    }

    /// Waits until more frames count as delivered, or for the end of the
    /// connection.
    pub(super) async fn next_progress(&mut self) -> (u64, Option<SyslogDisconnect>) {
        let reported = self.reported;
        let next_progress =
            |progress: &SendProgress| progress.taken > reported || progress.end.is_some();
        let progress = self
            .progress
            .wait_for(next_progress)
            .await
            .map(|now| now.clone());
        let progress = progress.unwrap_or_else(|_| SendProgress {
            taken: reported,
            end: Some(SyslogDisconnect {
                why: "server shutting down".to_owned(),
                is_reset: false,
            }),
        });
        self.reported = progress.taken;
        (progress.taken - reported, progress.end)
    }
}

/// Progress of one write.
enum WriteStep {
    Begun,
    /// Completely written to the kernel; holds the total bytes by then.
    Written(u64),
}

async fn carry(
    stream: Box<dyn ByteStream>,
    gauge: SocketMeter,
    mut waiting: UnboundedReceiver<Bytes>,
    progress: watch::Sender<SendProgress>,
    patience: Duration,
) {
    let (mut reader, mut writer) = tokio::io::split(stream);
    let (steps, taken_steps) = mpsc::unbounded_channel();
    let counter = Arc::clone(&gauge.written);
    let write = async move {
        while let Some(frames) = waiting.recv().await {
            drop(steps.send(WriteStep::Begun));
            writer.write_all(&frames).await?;
            writer.flush().await?;
            drop(steps.send(WriteStep::Written(counter.load(Ordering::Relaxed))));
        }
        writer.shutdown().await
    };
    let read = async move {
        let mut buffer = [0; 1024];
        loop {
            match reader.read(&mut buffer).await {
                Ok(0) => return end("connection closed by the receiver"),
                // Input of the receiver has no meaning in syslog.
                Ok(_) => {}
                Err(error) => return broke(&error),
            }
        }
    };
    tokio::pin!(read);
    let end = tokio::select! {
        biased;
        end = &mut read => Some(end),
        written = write => match written {
            Ok(()) => None,
            Err(error) => {
                let reason = timeout(CLOSE_REASON_WITHIN, read).await;
                let reason = reason.ok().filter(|reason| !reason.is_reset);
                Some(reason.unwrap_or_else(|| broke(&error)))
            }
        },
        end = follow(&gauge, taken_steps, &progress, patience) => Some(end),
    };
    progress.send_modify(|progress| progress.end = end);
}

/// Reports delivered frames; returns when there is no more progress.
async fn follow(
    gauge: &SocketMeter,
    mut steps: UnboundedReceiver<WriteStep>,
    progress: &watch::Sender<SendProgress>,
    patience: Duration,
) -> SyslogDisconnect {
    let (mut begun, mut taken) = (0_u64, 0_u64);
    let mut written = VecDeque::new();
    let mut acknowledged = VecDeque::new();
    let mut moved = (0, Instant::now());
    loop {
        let step = match begun == taken {
            true => steps.recv().await,
            false => timeout(POLL_EVERY, steps.recv()).await.unwrap_or(None),
        };
        let now = Instant::now();
        if begun == taken {
            moved.1 = now;
        }
        let mut next = step;
        while let Some(step) = next {
            match step {
                WriteStep::Begun => begun += 1,
                WriteStep::Written(bytes) => written.push_back(bytes),
            }
            next = steps.try_recv().ok();
        }
        let bytes = match gauge.acknowledged() {
            Ok(bytes) => bytes,
            Err(error) => return broke(&error),
        };
        if bytes != moved.0 {
            moved = (bytes, now);
        }
        while written.pop_front_if(|mark| *mark <= bytes).is_some() {
            acknowledged.push_back(now);
        }
        let before = taken;
        while acknowledged
            .pop_front_if(|at| now.duration_since(*at) >= GRACE)
            .is_some()
        {
            taken += 1;
        }
        if taken > before {
            progress.send_modify(|progress| progress.taken = taken);
        }
        let known = taken + acknowledged.len() as u64;
        if begun > known && now.duration_since(moved.1) >= patience {
            let s = patience.as_secs_f32();
            return end(&format!("receiver stalled for {s} s"));
        }
    }
}

fn end(why: &str) -> SyslogDisconnect {
    SyslogDisconnect {
        why: why.to_owned(),
        is_reset: false,
    }
}

fn broke(error: &io::Error) -> SyslogDisconnect {
    use io::ErrorKind::{BrokenPipe, ConnectionReset};
    SyslogDisconnect {
        why: error.to_string(),
        is_reset: matches!(error.kind(), BrokenPipe | ConnectionReset),
    }
}

/// Meter of the bytes written to a connection, and of those the receiver's
/// kernel has acknowledged.
pub(super) struct SocketMeter {
    socket: OwnedFd,
    written: Arc<AtomicU64>,
}

impl SocketMeter {
    pub(super) fn of(stream: TcpStream) -> io::Result<(CountedTcpStream, Self)> {
        let written = Arc::new(AtomicU64::new(0));
        let gauge = Self {
            socket: stream.as_fd().try_clone_to_owned()?,
            written: Arc::clone(&written),
        };
        Ok((CountedTcpStream { stream, written }, gauge))
    }

    fn acknowledged(&self) -> io::Result<u64> {
        // Read first: bytes written meanwhile make the number too small.
        let written = self.written.load(Ordering::Relaxed);
        let mut queued: libc::c_int = 0;
        // SAFETY: TIOCOUTQ (SIOCOUTQ of a socket) writes one int there, and
        // the descriptor is open as long as `self` is.
        let failed =
            unsafe { libc::ioctl(self.socket.as_raw_fd(), libc::TIOCOUTQ, &raw mut queued) } != 0;
        if failed {
            return Err(io::Error::last_os_error());
        }
        Ok(written.saturating_sub(queued.unsigned_abs().into()))
    }
}

pub(super) struct CountedTcpStream {
    stream: TcpStream,
    written: Arc<AtomicU64>,
}

impl CountedTcpStream {
    fn count(&self, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if let Poll::Ready(Ok(bytes)) = written {
            self.written.fetch_add(bytes as u64, Ordering::Relaxed);
        }
        written
    }
}

impl AsyncRead for CountedTcpStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, into)
    }
}

impl AsyncWrite for CountedTcpStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.count(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, pieces);
        self.count(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

//! RTMP output: FFmpeg's FLV muxer over its RTMP protocol, with deadlines.

use std::ffi::{CString, c_int, c_void};
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use ffmpeg_next as ff;
use ffmpeg_next::codec::Parameters;
use ffmpeg_next::ffi;
use ffmpeg_next::format::context;
use tokio_util::sync::CancellationToken;

use super::target::Target;

/// Timeout of connecting, the handshake and the response to `publish`.
const OPEN_WITHIN: Duration = Duration::from_secs(10);
/// Timeout of writing one packet; after it the server counts as gone.
const WRITE_WITHIN: Duration = Duration::from_secs(10);
/// Timeout of ending the stream, cancelled or not.
const CLOSE_WITHIN: Duration = Duration::from_secs(2);

pub(super) struct RtmpOutput {
    // Dropped before the interrupt condition, which closing the context still
    // polls.
    context: context::Output,
    condition: Box<InterruptCondition>,
}

/// Interrupt condition FFmpeg polls while it waits for the network:
/// cancellation or a deadline.
struct InterruptCondition {
    cancel: CancellationToken,
    start: Instant,
    /// Deadline, in milliseconds from `start`.
    deadline: AtomicU64,
    closing: AtomicBool,
}

impl InterruptCondition {
    fn allow(&self, time: Duration) {
        let deadline = (self.start.elapsed() + time).as_millis();
        self.deadline.store(
            u64::try_from(deadline).unwrap_or(u64::MAX),
            Ordering::Relaxed,
        );
    }

    fn is_interrupted(&self) -> bool {
        let deadline = self.deadline.load(Ordering::Relaxed);
        let cancelled = self.cancel.is_cancelled() && !self.closing.load(Ordering::Relaxed);
        cancelled || self.start.elapsed().as_millis() > u128::from(deadline)
    }
}

/// Interrupt callback of FFmpeg.
extern "C" fn is_interrupted(condition: *mut c_void) -> c_int {
    // SAFETY: `RtmpOutput` sets the pointer to its own boxed condition, which it
    // keeps until after the context is closed; all access to it is shared.
    let condition = unsafe { &*condition.cast::<InterruptCondition>() };
    c_int::from(condition.is_interrupted())
}

impl RtmpOutput {
    /// Connects and starts publishing; blocks until the server accepts.
    pub(super) fn open(target: &Target, cancel: CancellationToken) -> Result<Self, ff::Error> {
        let condition = Box::new(InterruptCondition {
            cancel,
            start: Instant::now(),
            deadline: AtomicU64::new(0),
            closing: AtomicBool::new(false),
        });
        condition.allow(OPEN_WITHIN);
        let invalid = ff::Error::Other {
            errno: ff::error::EINVAL,
        };
        let url = CString::new(target.url()).map_err(|_| invalid)?;
        let mut options = ff::Dictionary::new();
        options.set("rtmp_app", &target.app);
        options.set("rtmp_playpath", &target.play_path);
        let interrupt = ffi::AVIOInterruptCB {
            callback: Some(is_interrupted),
            opaque: ptr::from_ref(&*condition).cast_mut().cast(),
        };
        // SAFETY: FFmpeg allocates the context and reports failure by its
        // result or a null pointer; the wrapper then owns it, closes its `pb`
        // (null until opened) and frees it. `url` and `interrupt` outlive the
        // calls, which copy them; `options` is FFmpeg's own dictionary, handed
        // back to be freed. `RtmpOutput` keeps the condition in a box.
        let context = unsafe {
            let mut context = ptr::null_mut();
            let made = ffi::avformat_alloc_output_context2(
                &raw mut context,
                ptr::null_mut(),
                c"flv".as_ptr(),
                ptr::null(),
            );
            if made < 0 || context.is_null() {
                return Err(ff::Error::MuxerNotFound);
            }
            (*context).interrupt_callback = interrupt;
            let output = context::Output::wrap(context);
            let mut raw_options = options.disown();
            let opened = ffi::avio_open2(
                &raw mut (*context).pb,
                url.as_ptr(),
                ffi::AVIO_FLAG_WRITE,
                &raw const interrupt,
                &raw mut raw_options,
            );
            drop(ff::Dictionary::own(raw_options));
            if opened < 0 {
                return Err(ff::Error::from(opened));
            }
            output
        };
        Ok(Self { context, condition })
    }

    /// Adds a stream with the same parameters; returns its index.
    pub(super) fn add(&mut self, parameters: Parameters) -> Result<usize, ff::Error> {
        let mut stream = self.context.add_stream(ff::codec::Id::None)?;
        stream.set_parameters(parameters);
        // SAFETY: the parameters belong to the stream just made. The tag is the
        // source container's; with zero the muxer chooses its own.
        unsafe { (*stream.parameters().as_mut_ptr()).codec_tag = 0 };
        Ok(stream.index())
    }

    pub(super) fn start(&mut self) -> Result<(), ff::Error> {
        let mut options = ff::Dictionary::new();
        // Sends each packet at once rather than buffering it.
        options.set("flush_packets", "1");
        // The output can't seek back to fill them in.
        options.set("flvflags", "no_duration_filesize");
        self.condition.allow(WRITE_WITHIN);
        self.context.write_header_with(options).map(drop)
    }

    pub(super) fn write(&mut self, packet: &ff::Packet) -> Result<(), ff::Error> {
        self.condition.allow(WRITE_WITHIN);
        packet.write(&mut self.context).map(drop)
    }

    /// Ends the stream properly.
    pub(super) fn finish(mut self) -> Result<(), ff::Error> {
        self.condition.closing.store(true, Ordering::Relaxed);
        self.condition.allow(CLOSE_WITHIN);
        self.context.write_trailer()
    }
}

impl Drop for RtmpOutput {
    fn drop(&mut self) {
        // Closing sends the RTMP commands that end the stream.
        self.condition.closing.store(true, Ordering::Relaxed);
        self.condition.allow(CLOSE_WITHIN);
    }
}

//! CPU time of threads.

use std::time::Duration;

/// CPU time of the calling thread since it began; zero where the system does
/// not report it (clock_gettime(2)).
pub fn of_this_thread() -> Duration {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: the pointer is to a local timespec that outlives the call.
    let failed = unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) } != 0;
    if failed {
        return Duration::ZERO;
    }
    // Neither is negative: it is elapsed time.
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec as u32)
}

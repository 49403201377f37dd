//! Time that nobody can set, and the identity of the boot that it counts from.

use nix::errno::Errno;
use nix::sys::time::TimeSpec;
use nix::time::{ClockId, ClockNanosleepFlags, clock_gettime, clock_nanosleep};
use std::time::Duration;

/// Time since the machine started, including sleep. Deadlines use it because the wall clock jumps.
#[must_use]
pub fn since_start() -> Duration {
    // The clock exists since Linux 2.6.39, and nothing else can fail.
    clock_gettime(ClockId::CLOCK_BOOTTIME).map(Duration::from).unwrap_or_default()
}

/// Waits until this time since the machine started.
pub fn sleep_until(time: Duration) {
    let time = TimeSpec::from_duration(time);
    let flags = ClockNanosleepFlags::TIMER_ABSTIME;
    while clock_nanosleep(ClockId::CLOCK_BOOTTIME, flags, &time) == Err(Errno::EINTR) {}
}

/// The id of this boot; empty where /proc is not mounted.
#[must_use]
pub fn boot_id() -> String {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id").map(|id| id.trim().to_owned()).unwrap_or_default()
}

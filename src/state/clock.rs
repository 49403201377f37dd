//! Time that no one sets, and which start of the machine it counts from.

use nix::errno::Errno;
use nix::sys::time::TimeSpec;
use nix::time::{ClockId, ClockNanosleepFlags, clock_gettime, clock_nanosleep};
use std::time::Duration;

/// Time since the machine started, sleep included: what a deadline is told in, since the wall clock jumps.
#[must_use]
pub fn since_start() -> Duration {
    // The clock is there since Linux 2.6.39, and nothing else can fail.
    clock_gettime(ClockId::CLOCK_BOOTTIME).map(Duration::from).unwrap_or_default()
}

/// Waits until the machine has been running for so long.
pub fn sleep_until(time: Duration) {
    let time = TimeSpec::from_duration(time);
    let flags = ClockNanosleepFlags::TIMER_ABSTIME;
    while clock_nanosleep(ClockId::CLOCK_BOOTTIME, flags, &time) == Err(Errno::EINTR) {}
}

/// What tells this start of the machine from every other; empty where /proc is not mounted.
#[must_use]
pub fn boot_id() -> String {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id").map(|id| id.trim().to_owned()).unwrap_or_default()
}

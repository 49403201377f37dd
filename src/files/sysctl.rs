//! Reads settings of the kernel.

use std::fs;
use std::io::{self, ErrorKind};

/// Whether a sysctl is on; `None` if it does not exist. One of `net.` is that of the calling thread's network namespace.
///
/// # Errors
/// The error of the system call.
pub(crate) fn sysctl(name: &str) -> io::Result<Option<bool>> {
    match fs::read_to_string(format!("/proc/sys/{}", name.replace('.', "/"))) {
        Ok(text) => Ok(Some(text.trim() != "0")),
        // The file is missing without IPv6, or without br_netfilter.
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

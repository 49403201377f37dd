//! Reads files whose paths others may have named: up to a maximum size, and without ever blocking.

use nix::fcntl::OFlag;
use nix::sys::stat::{Mode, SFlag, fstat};
use std::fs::OpenOptions;
use std::io::{self, Read};
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// Far above any hand-written configuration.
pub const MAX_CONFIGURATION: u64 = 1 << 20;

/// Reads a regular file; follows symbolic links.
///
/// # Errors
/// The error of the system call; `InvalidInput` for anything but a regular file, such as a pipe or a device, which is
/// not even opened; `FileTooLarge` for more than `max_bytes`.
pub fn read_bounded(path: &Path, max_bytes: u64) -> io::Result<Vec<u8>> {
    // Opening a device may trigger it, so check the type through an O_PATH descriptor, which does not open it.
    let place = nix::fcntl::open(path, OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty())?;
    if SFlag::from_bits_truncate(fstat(&place)?.st_mode) & SFlag::S_IFMT != SFlag::S_IFREG {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file"));
    }
    let flags = OFlag::O_NONBLOCK | OFlag::O_NOCTTY;
    let opened = format!("/proc/thread-self/fd/{}", place.as_raw_fd());
    let file = OpenOptions::new().read(true).custom_flags(flags.bits()).open(opened)?;
    let mut bytes = Vec::new();
    file.take(max_bytes.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > max_bytes {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "it is too long"));
    }
    Ok(bytes)
}

/// Reads a regular text file; invalid UTF-8 is replaced.
///
/// # Errors
/// As [`read_bounded`].
pub fn read_text_bounded(path: &Path, max_bytes: u64) -> io::Result<String> {
    read_bounded(path, max_bytes).map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{self, File};

    #[test]
    fn a_regular_file_of_the_length_that_it_may_have_is_read_and_nothing_else() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = |name: &str| folder.path().join(name);
        fs::write(path("text"), "1234").expect("it is writable");
        std::os::unix::fs::symlink("text", path("link")).expect("it is writable");
        nix::unistd::mkfifo(&path("pipe"), Mode::S_IRWXU).expect("it is writable");
        File::create(path("sparse")).and_then(|file| file.set_len(1 << 40)).expect("it is writable");
        let kind = |path: &Path, most| read_bounded(path, most).map_err(|error| error.kind());

        assert_eq!(kind(&path("text"), 4), Ok(b"1234".to_vec()));
        assert_eq!(kind(&path("link"), 4), Ok(b"1234".to_vec()));
        assert_eq!(kind(&path("text"), 3), Err(io::ErrorKind::FileTooLarge));
        assert_eq!(kind(&path("sparse"), 1000), Err(io::ErrorKind::FileTooLarge));
        assert_eq!(kind(&path("none"), 3), Err(io::ErrorKind::NotFound));
        for other in [&path("pipe"), folder.path(), Path::new("/dev/zero")] {
            assert_eq!(kind(other, 3), Err(io::ErrorKind::InvalidInput), "{}", other.display());
        }
    }
}

//! A place for trying out rulesets that no packet reaches.

use super::socket::Socket;
use crate::netlink::wire::error::NetlinkError;
use nix::errno::Errno;
use nix::sched::{CloneFlags, unshare};

impl Socket {
    /// A socket in a new, empty network namespace, which exists as long as the socket.
    ///
    /// Needs CAP_SYS_ADMIN. The calling thread stays in its namespace: a temporary thread enters the new one, opens
    /// the socket there, and ends.
    ///
    /// # Errors
    ///
    /// [`NetlinkError::Socket`] when the namespace can't be made, or as [`Socket::open`].
    pub fn open_in_new_namespace() -> Result<Self, NetlinkError> {
        let doing = "making a throw-away network namespace";
        let open = || {
            unshare(CloneFlags::CLONE_NEWNET).map_err(|errno| NetlinkError::Socket { doing, errno })?;
            Self::open()
        };
        let thread = std::thread::Builder::new().spawn(open);
        let thread = thread.map_err(|error| NetlinkError::Socket {
            doing,
            errno: Errno::from_raw(error.raw_os_error().unwrap_or_default()),
        })?;
        thread.join().unwrap_or(Err(NetlinkError::Socket { doing, errno: Errno::EIO }))
    }
}

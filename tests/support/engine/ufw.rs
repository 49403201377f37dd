//! ufw on an engine's host.

use super::Engine;
use super::setting::Setting;
use crate::support::namespace::output;

/// Makes ufw's files, as its package's installation does.
const PREPARE: &str = r#"set -e
    cp -r "$0/etc/ufw" /etc/
    mkdir -p /etc/default
    cp "$0/etc/default/ufw" /etc/default/
    cp "$0"/usr/share/ufw/iptables/*.rules "$0"/usr/share/ufw/*.init "$0/usr/share/ufw/ufw.conf" /etc/ufw/"#;

/// Lays the unpacked package over the machine's folders, for one command.
const RUN: &str = r#"set -e
    mount -t overlay -o lowerdir="$0/lib:/usr/lib" overlay /usr/lib
    mount -t overlay -o lowerdir="$0/usr/share:/usr/share" overlay /usr/share
    PYTHONPATH="$0/usr/lib/python3/dist-packages" exec /usr/bin/python3 "$0/usr/sbin/ufw" "$@""#;

impl Engine {
    /// Has ufw deny what comes in, but for 22/tcp.
    #[track_caller]
    pub fn enable_ufw(&self) {
        let folder = Setting::folder("bookworm");
        output(self.command("/bin/sh").args(["-c", PREPARE]).arg(folder)).success();
        self.ufw(&["default", "deny", "incoming"]);
        self.ufw(&["allow", "22/tcp"]);
        self.ufw(&["--force", "enable"]);
        let status = self.ufw(&["status"]);
        assert!(status.contains("Status: active"), "{status}");
    }

    /// Runs ufw.
    #[track_caller]
    pub fn ufw(&self, arguments: &[&str]) -> String {
        let mut command = self.command("unshare");
        command.args(["--mount", "--propagation", "private", "--", "/bin/sh", "-c", RUN]);
        output(command.arg(Setting::folder("bookworm")).args(arguments)).success()
    }
}

"""ufw, from its unpacked package, in this network namespace."""

import os
import shutil

from run import run

# Lays the package over the machine's folders, for one command: this is run in a mount namespace of its own.
RUN = """set -e
mount -t overlay -o lowerdir="$0/lib:/usr/lib" overlay /usr/lib
mount -t overlay -o lowerdir="$0/usr/share:/usr/share" overlay /usr/share
PYTHONPATH="$0/usr/lib/python3/dist-packages" exec /usr/bin/python3 "$0/usr/sbin/ufw" "$@" """


class Ufw:
    """Its commands. /etc has to be a copy that vanishes with this process."""

    def __init__(self, package):
        self.package = os.path.abspath(package)
        run(["mount", "-t", "tmpfs", "tmpfs", "/mnt"])
        for folder in ("up", "work"):
            os.mkdir(f"/mnt/{folder}")
        run(["mount", "-t", "overlay", "-o", "lowerdir=/etc,upperdir=/mnt/up,workdir=/mnt/work", "overlay", "/etc"])
        shutil.copytree(f"{self.package}/etc/ufw", "/etc/ufw", dirs_exist_ok=True)
        shutil.copy(f"{self.package}/etc/default/ufw", "/etc/default/ufw")
        share = f"{self.package}/usr/share/ufw"
        rules = [f"iptables/{name}" for name in os.listdir(f"{share}/iptables") if name.endswith(".rules")]
        for name in [*rules, *(name for name in os.listdir(share) if name.endswith(".init")), "ufw.conf"]:
            shutil.copy(f"{share}/{name}", "/etc/ufw/")

    def command(self, *arguments):
        return ["unshare", "--mount", "--propagation", "private", "--", "/bin/sh", "-c", RUN, self.package, *arguments]

    def __call__(self, *arguments):
        run(self.command(*arguments))

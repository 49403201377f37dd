"""What palisade costs the packets that pass it, beside connection tracking alone, no firewall, and iptables.

Each firewall stands in a network namespace of its own, with a client's beside it; benches/packets.rs sends, in turns.
"""

import os
import random
import statistics
import subprocess
import tempfile

from table import Row

# As benches/packets.rs has them.
SERVER, CLIENT, FIRST_PORT = "10.9.0.1", "10.9.0.2", 20_000
SERVER_MAC, CLIENT_MAC = "02:00:00:00:00:01", "02:00:00:00:00:02"
SERVICES, SOURCES = 1_000, 100_000

# What makes the kernel track connections, and nothing else.
TRACKING = """table inet tracking {
    chain input { type filter hook input priority filter; policy accept; ct state established,related accept; }
}
"""

# What ufw loads before the rules of its user.
IPTABLES = """*filter
:INPUT DROP [0:0]
:FORWARD DROP [0:0]
:OUTPUT ACCEPT [0:0]
-A INPUT -i lo -j ACCEPT
-A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A INPUT -m conntrack --ctstate INVALID -j DROP
"""


class Place:
    """A server with its firewall, and its client, joined by a pair of virtual interfaces."""

    def __init__(self, held):
        self.server, self.client = (self._namespace(held) for _ in range(2))
        self.inside("ip", "link", "add", "eth0", "address", SERVER_MAC, "type", "veth", "peer", "name", "eth0",
                    "address", CLIENT_MAC, "netns", str(self.client))
        for process, own, other, mac in ((self.server, SERVER, CLIENT, CLIENT_MAC),
                                         (self.client, CLIENT, SERVER, SERVER_MAC)):
            ip = ("nsenter", f"--net=/proc/{process}/ns/net", "--", "ip")
            run(*ip, "link", "set", "lo", "up")
            run(*ip, "address", "add", f"{own}/24", "dev", "eth0")
            run(*ip, "link", "set", "eth0", "up")
            run(*ip, "neighbour", "replace", other, "lladdr", mac, "dev", "eth0", "nud", "permanent")
            run(*ip, "route", "add", "default", "via", other)
        # Few enough for one tuple to be used again and again: the table of connections stays as small in each place.
        self._sysctl(self.client, "ipv4/ip_local_port_range", "32768 32895")
        for interface in ("all", "default", "eth0"):
            self._sysctl(self.server, f"ipv4/conf/{interface}/rp_filter", "0")

    @staticmethod
    def _namespace(held):
        # It says when it is there.
        process = subprocess.Popen(["unshare", "--net", "sh", "-c", "echo; exec sleep infinity"],
                                   stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
        held.append(process)
        process.stdout.readline()
        return process.pid

    @staticmethod
    def _sysctl(process, name, value):
        run("nsenter", f"--net=/proc/{process}/ns/net", "--", "sh", "-c", f"echo '{value}' >/proc/sys/net/{name}")

    def inside(self, *command, **more):
        """Runs a command on the server."""
        return run("nsenter", f"--net=/proc/{self.server}/ns/net", "--", *command, **more)

    def packet_by_packet(self):
        """Segments pass one at a time from now on, in both directions."""
        for process in (self.server, self.client):
            run("nsenter", f"--net=/proc/{process}/ns/net", "--", "ip", "link", "set", "eth0", "gso_max_segs", "1")

    def tracking(self):
        self.inside("nft", "-f", "-", input=TRACKING)

    def palisade(self, palisade, policy):
        """With a state of its own, so that no place knows of another."""
        self.inside("unshare", "--mount", "sh", "-ec", """
            mkdir -p /var/lib/palisade /run/palisade
            mount -t tmpfs tmpfs /var/lib/palisade
            mount -t tmpfs tmpfs /run/palisade
            exec "$@" """, "sh", palisade, "--policy", policy, "apply")

    def iptables(self, sources):
        """A rule for each source of each service, as ufw writes them; the client is the last source of each."""
        rules = "".join(
            f"-A INPUT -p tcp -s {source} --dport {FIRST_PORT + n} -j ACCEPT\n"
            for n in range(SERVICES)
            for source in [*(f"198.18.0.{other}" for other in range(1, sources)), CLIENT]
        )
        self.inside("iptables-restore", input=IPTABLES + rules + "COMMIT\n")

    def __str__(self):
        return f"{self.client}:{self.server}"


def run(*command, **more):
    done = subprocess.run(command, capture_output=True, text=True, **({} if "input" in more else
                          {"stdin": subprocess.DEVNULL}), **more)
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stdout}{done.stderr}")
    return done.stdout


def in_turn(packets, places, turns, what, *more):
    """The rates of each place, turn by turn."""
    said = run(packets, "--turns", str(turns), what, *more, *map(str, places))
    return list(zip(*(map(float, line.split()) for line in said.splitlines())))


def compared(ours, theirs):
    """Medians, and that of the ratio turn by turn: what slows the machine slows both."""
    return statistics.median(ours), statistics.median(theirs), statistics.median(a / b for a, b in zip(ours, theirs))


def mixture(count, seed):
    """Addresses and networks as lists of them go: four in five are single addresses. None holds the client."""
    chosen = random.Random(seed)
    lines = set()
    while len(lines) < count:
        address = chosen.randrange(11 << 24, 200 << 24)
        length = 32 if len(lines) % 5 else chosen.randrange(20, 30)
        address &= -1 << (32 - length)
        text = ".".join(str(address >> shift & 255) for shift in (24, 16, 8, 0))
        lines.add(text if length == 32 else f"{text}/{length}")
    return sorted(lines)


def policies(folder):
    """The policy of many services and sources, and that of a long list of blocked ones; and some of those."""
    sources, blocked = mixture(SOURCES, 1), mixture(SOURCES, 2)
    write(f"{folder}/sources.txt", [*sources, CLIENT])
    write(f"{folder}/blocked.txt", blocked)
    services = [f"  service-{n}: {{ ports: {FIRST_PORT + n}/tcp, from: sources }}" for n in range(SERVICES)]
    write(f"{folder}/services.yaml",
          ["version: 1", "groups:", "  sources: { file: sources.txt }", "services:", *services])
    write(f"{folder}/blocking.yaml",
          ["version: 1", "groups:", "  blocked: { file: blocked.txt }", "block: blocked"])
    random.Random(3).shuffle(blocked)
    write(f"{folder}/flood.txt", [line.split("/")[0] for line in blocked[:4_096]])


def write(path, lines):
    with open(path, "w", encoding="ascii") as file:
        file.write("\n".join(lines) + "\n")


def rows(palisade, packets, runs):
    held = []
    os.umask(0o022)
    with tempfile.TemporaryDirectory(dir="/run") as folder:
        os.chmod(folder, 0o755)
        try:
            policies(folder)
            return connections(palisade, packets, folder, runs, held) + floods(palisade, packets, folder, runs, held)
        finally:
            for process in held:
                process.kill()


def connections(palisade, packets, folder, runs, held):
    ours, tracking, thousand, many = (Place(held) for _ in range(4))
    ours.palisade(palisade, f"{folder}/services.yaml")
    tracking.tracking()
    thousand.iptables(1)
    many.iptables(10)
    found = []
    ports = ("--first", str(FIRST_PORT), "--ports", str(SERVICES))
    rates = in_turn(packets, [ours, tracking, thousand], runs, "connect", *ports)
    what = f"new connections a second, {SERVICES:,} services, {SOURCES:,} sources"
    found.append(Row(what, "connection tracking alone", *compared(rates[0], rates[1]), at_least=0.97))
    found.append(Row(what, "iptables, 1,000 rules", *compared(rates[0], rates[2]), at_least=1.3))
    rates = in_turn(packets, [ours, many], runs, "connect", *ports)
    found.append(Row(what, "iptables, 10,000 rules", *compared(rates[0], rates[1]), at_least=4))
    for what, change in (("one stream, bytes a second", lambda place: None),
                         ("the same, packet by packet", Place.packet_by_packet)):
        change(ours)
        change(tracking)
        rates = in_turn(packets, [ours, tracking], runs, "stream")
        found.append(Row(what, "connection tracking alone", *compared(*rates), at_least=0.98))
    return found


def floods(palisade, packets, folder, runs, held):
    ours, nothing, tracking = (Place(held) for _ in range(3))
    ours.palisade(palisade, f"{folder}/blocking.yaml")
    tracking.tracking()
    found = []
    for what, more in (("datagrams", ()), ("datagrams to an open port", ("--open",)), ("SYN segments", ("--tcp",))):
        rates = in_turn(packets, [ours, nothing, tracking], runs, "flood", "--sources", f"{folder}/flood.txt",
                        "--port", "20000", *more)
        what = f"{what} a second from blocked sources ({SOURCES:,} blocked)"
        found.append(Row(what, "no firewall", *compared(rates[0], rates[1]), at_least=1))
        found.append(Row(what, "connection tracking alone", *compared(rates[0], rates[2]), at_least=1))
    return found

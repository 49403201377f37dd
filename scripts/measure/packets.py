"""What palisade costs the packets that pass it, beside connection tracking alone, no firewall, and iptables.

Each firewall stands in a network namespace of its own, with a client's beside it; benches/packets.rs sends, in turns, and
counts per second of processor time. Where a namespace's tables happen to lie in memory makes a difference of one or two in a
hundred: each comparison is made in several pairs of namespaces, made anew.
"""
import os
import random
import statistics
import subprocess
import tempfile

from run import run
from table import Row

# As benches/packets.rs has them.
SERVER, CLIENT, FIRST_PORT = "10.9.0.1", "10.9.0.2", 20_000
SERVER_MAC, CLIENT_MAC, ROUTER_MAC = "02:00:00:00:00:01", "02:00:00:00:00:02", "02:00:00:00:00:03"
SERVICES, SOURCES = 1_000, 100_000
ROUNDS = 5
# How many blocked sources send by turns: so few that what the processor knows of them stays in its cache; and more than that.
FEW, MANY = 64, 4_096
TRACKED, PLAIN = "connection tracking alone", "no firewall"
FORGETFUL = "the same rules, without remembering who"
ONE_SERVICE, ONE_RULE = "palisade with one service", "palisade with one rule of forward"

# What makes the kernel track connections, and nothing else.
TRACKING = """table inet tracking {
    chain input { type filter hook input priority filter; policy accept; ct state established,related accept; }
    chain forward { type filter hook forward priority filter; policy accept; ct state established,related accept; }
}
"""

# What Docker's engine loads, with one published port: the kernel then keeps a translation for each connection, of whomever.
ENGINE = """*nat
:PREROUTING ACCEPT [0:0]
:INPUT ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
:POSTROUTING ACCEPT [0:0]
:DOCKER - [0:0]
-A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER
-A OUTPUT ! -d 127.0.0.0/8 -m addrtype --dst-type LOCAL -j DOCKER
-A POSTROUTING -s 172.17.0.0/16 ! -o docker0 -j MASQUERADE
-A DOCKER ! -i docker0 -p tcp -m tcp --dport 9000 -j DNAT --to-destination 172.17.0.2:80
COMMIT
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
        self.firewall, self.links = self.server, ((self.server, "eth0"), (self.client, "eth0"))
        self.inside("ip", "link", "add", "eth0", "address", SERVER_MAC, "type", "veth", "peer", "name", "eth0",
                    "address", CLIENT_MAC, "netns", str(self.client))
        for process, own, other, mac in ((self.server, SERVER, CLIENT, CLIENT_MAC),
                                         (self.client, CLIENT, SERVER, SERVER_MAC)):
            within(process, "ip", "link", "set", "lo", "up")
            within(process, "ip", "address", "add", f"{own}/24", "dev", "eth0")
            within(process, "ip", "link", "set", "eth0", "up")
            within(process, "ip", "neighbour", "replace", other, "lladdr", mac, "dev", "eth0", "nud", "permanent")
            within(process, "ip", "route", "add", "default", "via", other)
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
        within(process, "sh", "-c", f"echo '{value}' >/proc/sys/net/{name}")

    def inside(self, *command, **more):
        """Runs a command where the firewall is."""
        within(self.firewall, *command, **more)

    def packet_by_packet(self):
        """Segments pass one at a time from now on, in both directions."""
        for process, link in self.links:
            within(process, "ip", "link", "set", link, "gso_max_segs", "1")

    def tracking(self):
        self.inside("nft", "-f", "-", input=TRACKING)

    def palisade(self, palisade, policy):
        """With a state of its own, so that no place knows of another."""
        self.inside("unshare", "--mount", "sh", "-ec", """
            mkdir -p /var/lib/palisade /run/palisade
            mount -t tmpfs -o mode=700 tmpfs /var/lib/palisade
            mount -t tmpfs -o mode=700 tmpfs /run/palisade
            exec "$@" """, "sh", palisade, "--policy", policy, "apply")

    def without_memory(self, palisade, policy):
        """The same rules, but for those that remember who was denied."""
        rules = run([palisade, "--policy", policy, "show"]).splitlines()
        kept = [line for line in rules if "jump denied-" not in line]
        assert len(kept) < len(rules), "no rule remembers who was denied"
        self.inside("nft", "-f", "-", input="\n".join(kept) + "\n")

    def engine(self):
        self.inside("iptables-restore", input=ENGINE)

    def iptables(self, sources, restore="iptables-restore"):
        """A rule for each source of each service, as ufw writes them; the client is the last source of each."""
        rules = "".join(
            f"-A INPUT -p tcp -s {source} --dport {FIRST_PORT + n} -j ACCEPT\n"
            for n in range(SERVICES)
            for source in [*(f"198.18.0.{other}" for other in range(1, sources)), CLIENT]
        )
        self.inside(restore, input=IPTABLES + rules + "COMMIT\n")

    def __str__(self):
        return f"{self.client}:{self.server}"


class RoutedPlace(Place):
    """A router with its firewall, between a server and its client."""

    def __init__(self, held):
        self.server, self.client, router = (self._namespace(held) for _ in range(3))
        self.firewall = router
        self.links = ((self.server, "eth0"), (self.client, "eth0"), (router, "eth0"), (router, "eth1"))
        sides = ((self.client, CLIENT, SERVER, "eth0", CLIENT_MAC), (self.server, SERVER, CLIENT, "eth1", SERVER_MAC))
        within(router, "ip", "link", "set", "lo", "up")
        for process, own, other, link, mac in sides:
            within(router, "ip", "link", "add", link, "address", ROUTER_MAC, "type", "veth", "peer", "name", "eth0",
                   "address", mac, "netns", str(process))
            within(router, "ip", "link", "set", link, "up")
            within(process, "ip", "link", "set", "lo", "up")
            within(process, "ip", "address", "add", f"{own}/32", "dev", "eth0")
            within(process, "ip", "link", "set", "eth0", "up")
            within(process, "ip", "route", "add", "default", "dev", "eth0")
            within(process, "ip", "neighbour", "replace", other, "lladdr", ROUTER_MAC, "dev", "eth0", "nud", "permanent")
            within(router, "ip", "route", "add", f"{own}/32", "dev", link)
            within(router, "ip", "neighbour", "replace", own, "lladdr", mac, "dev", link, "nud", "permanent")
        self._sysctl(self.client, "ipv4/ip_local_port_range", "32768 32895")
        self._sysctl(router, "ipv4/ip_forward", "1")
        for interface in ("all", "default", "eth0", "eth1"):
            self._sysctl(router, f"ipv4/conf/{interface}/rp_filter", "0")


def within(process, *command, **more):
    """Runs a command in the network namespace of a process."""
    run(["nsenter", f"--net=/proc/{process}/ns/net", "--", *command], **more)


class Places:
    """What is compared: places by name, each made anew in every round, and what is measured in them."""

    def __init__(self, packets, runs, kind=Place, **firewalls):
        self.packets, self.turns, self.kind, self.firewalls = packets, max(1, runs // ROUNDS), kind, firewalls

    def rates(self, loads):
        """For each load by name, for each place by name, the rates of all turns of all rounds."""
        found = {load: {name: [] for name in self.firewalls} for load in loads}
        for _ in range(ROUNDS):
            held = []
            try:
                places = {name: self.kind(held) for name in self.firewalls}
                for name, load_firewall in self.firewalls.items():
                    load_firewall(places[name])
                for load, (names, before, *arguments) in loads.items():
                    chosen = [name for name in places if name in (names or places)]
                    for name in chosen:
                        before(places[name])
                    told = [str(places[name]) for name in chosen]
                    said = run([self.packets, "--turns", str(self.turns), *arguments, *told])
                    for line in said.splitlines():
                        for name, rate in zip(chosen, line.split()):
                            found[load][name].append(float(rate))
            finally:
                for process in held:
                    process.kill()
                    process.wait()
        return found


def compared(what, rates, peer, **target):
    """Medians, and that of the ratio turn by turn: what slows the machine slows both."""
    ours, theirs = rates["palisade"], rates[peer]
    ratio = statistics.median(a / b for a, b in zip(ours, theirs))
    return Row(what, peer, statistics.median(ours), statistics.median(theirs), ratio, **target)


def as_it_is(_place):
    """Nothing is changed before the measurement."""


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
    sources_and = ["version: 1", "groups:", "  sources: { file: sources.txt }"]
    write(f"{folder}/services.yaml", [*sources_and, "services:", *services])
    write(f"{folder}/services-one.yaml", [*sources_and, "services:", services[-1]])
    rules = [f"  rule-{n}: {{ ports: {FIRST_PORT + n}/tcp, from: sources, to: {{ interface: eth1 }} }}"
             for n in range(SERVICES)]
    write(f"{folder}/forward.yaml", [*sources_and, "forward:", *rules])
    write(f"{folder}/forward-one.yaml", [*sources_and, "forward:", rules[-1]])
    write(f"{folder}/blocking.yaml",
          ["version: 1", "groups:", "  blocked: { file: blocked.txt }", "block: blocked"])
    write(f"{folder}/ssh.yaml", ["version: 1", "services: { ssh: { ports: 22/tcp, from: any } }"])
    random.Random(3).shuffle(blocked)
    senders = [line.split("/")[0] for line in blocked]
    write(f"{folder}/few.txt", senders[:FEW])
    write(f"{folder}/many.txt", senders[:MANY])
    write(f"{folder}/all.txt", senders)


def write(path, lines):
    with open(path, "w", encoding="ascii") as file:
        file.write("\n".join(lines) + "\n")


def rows(palisade, packets, runs):
    """The rows of the table: `palisade` and the load generator are paths of programs, `runs` how many turns each has."""
    os.umask(0o022)
    with tempfile.TemporaryDirectory(dir="/run") as folder:
        os.chmod(folder, 0o755)
        policies(folder)
        return [
            *connections(palisade, packets, folder, runs),
            *connections_beside_an_engine(palisade, packets, folder, runs),
            *routed(palisade, packets, folder, runs),
            *floods(palisade, packets, folder, runs),
            *denied(palisade, packets, folder, runs),
        ]


def connections(palisade, packets, folder, runs):
    tables = {
        "iptables, 1,000 rules": lambda place: place.iptables(1),
        "iptables, 10,000 rules": lambda place: place.iptables(10),
        "iptables-legacy, 10,000 rules": lambda place: place.iptables(10, "iptables-legacy-restore"),
    }
    places = Places(packets, runs, **{
        "palisade": lambda place: place.palisade(palisade, f"{folder}/services.yaml"),
        TRACKED: Place.tracking,
        ONE_SERVICE: lambda place: place.palisade(palisade, f"{folder}/services-one.yaml"),
        **tables,
    })
    last = ("connect", "--first", str(FIRST_PORT + SERVICES - 1))
    each = ("connect", "--first", str(FIRST_PORT), "--ports", str(SERVICES))
    two, others = ("palisade", TRACKED), ("palisade", *tables)
    rates = places.rates({
        "last": ((*two, ONE_SERVICE), as_it_is, *last),
        "each": (two, as_it_is, *each),
        "last rule": (others, as_it_is, *last),
        "each rule": (others, as_it_is, *each),
        "stream": (two, as_it_is, "stream", "--port", str(FIRST_PORT + 1)),
        "segments": (two, Place.packet_by_packet, "stream", "--port", str(FIRST_PORT + 2)),
    })
    to_last = f"new connections, {SERVICES:,} services for {SOURCES:,} sources, to the last of them"
    to_each = "new connections, to each of them in turn"
    yield compared(to_last, rates["last"], TRACKED, at_least=0.97)
    yield compared("", rates["last"], ONE_SERVICE, at_least=0.97)
    for peer, bound in zip(tables, (1.3, 4, None)):
        yield compared("", rates["last rule"], peer, at_least=bound)
    yield compared(to_each, rates["each"], TRACKED, at_least=0.97)
    for peer, bound in zip(tables, (1.3, 4, None)):
        yield compared("", rates["each rule"], peer, at_least=bound)
    yield compared("established connection, one stream", rates["stream"], TRACKED, at_least=0.98, unit="B/s")
    yield compared("the same, segment by segment", rates["segments"], TRACKED, at_least=0.98, unit="B/s")


def connections_beside_an_engine(palisade, packets, folder, runs):
    """Each has Docker's translations, which cost more than the rules."""
    def with_engine(load):
        def both(place):
            place.engine()
            load(place)
        return both

    places = Places(packets, runs, **{
        "palisade": with_engine(lambda place: place.palisade(palisade, f"{folder}/services.yaml")),
        TRACKED: with_engine(Place.tracking),
    })
    rates = places.rates({"last": ((), as_it_is, "connect", "--first", str(FIRST_PORT + SERVICES - 1))})
    yield compared("new connections, beside Docker's translations, to the last of them", rates["last"], TRACKED, at_least=0.97)


def routed(palisade, packets, folder, runs):
    """What passes a router."""
    places = Places(packets, runs, RoutedPlace, **{
        "palisade": lambda place: place.palisade(palisade, f"{folder}/forward.yaml"),
        TRACKED: Place.tracking,
        ONE_RULE: lambda place: place.palisade(palisade, f"{folder}/forward-one.yaml"),
        PLAIN: as_it_is,
    })
    last = ("connect", "--first", str(FIRST_PORT + SERVICES - 1))
    each = ("connect", "--first", str(FIRST_PORT), "--ports", str(SERVICES))
    all_ports = ("palisade", TRACKED, PLAIN)
    rates = places.rates({
        "last": (("palisade", TRACKED, ONE_RULE), as_it_is, *last),
        "each": (("palisade", TRACKED), as_it_is, *each),
        "stream": (all_ports, as_it_is, "stream", "--port", str(FIRST_PORT + 1)),
        "segments": (all_ports, Place.packet_by_packet, "stream", "--port", str(FIRST_PORT + 2)),
    })
    to_last = f"new routed connections, {SERVICES:,} rules of forward for {SOURCES:,} sources, by the last of them"
    yield compared(to_last, rates["last"], TRACKED, at_least=0.97)
    yield compared("", rates["last"], ONE_RULE, at_least=0.97)
    yield compared("new routed connections, by each of them in turn", rates["each"], TRACKED, at_least=0.97)
    for what, load in (("routed stream", "stream"), ("the same, segment by segment", "segments")):
        yield compared(what, rates[load], TRACKED, at_least=0.98, unit="B/s")
        yield compared("", rates[load], PLAIN, unit="B/s")


def floods(palisade, packets, folder, runs):
    places = Places(packets, runs, **{
        "palisade": lambda place: place.palisade(palisade, f"{folder}/blocking.yaml"),
        PLAIN: as_it_is,
        TRACKED: Place.tracking,
    })
    flood = ("flood", "--port", str(FIRST_PORT), "--sources")
    loads = {}
    for name, count in (("few", FEW), ("many", MANY)):
        for kind, more in (("UDP to a closed port", ()), ("UDP to an open port", ("--open",)),
                           ("SYN to a closed port", ("--tcp",))):
            what = f"packets from {count:,} of {SOURCES:,} blocked sources, {kind}"
            loads[what] = ((), as_it_is, *flood, f"{folder}/{name}.txt", *more)
    for what, rates in places.rates(loads).items():
        yield compared(what, rates, PLAIN, at_least=1)
        yield compared("", rates, TRACKED, at_least=1)


def denied(palisade, packets, folder, runs):
    """What it costs to remember who was denied."""
    policy = f"{folder}/ssh.yaml"
    places = Places(packets, runs, **{
        "palisade": lambda place: place.palisade(palisade, policy),
        FORGETFUL: lambda place: place.without_memory(palisade, policy),
    })
    flood = ("flood", "--port", str(FIRST_PORT), "--sources", f"{folder}/all.txt")
    loads = {
        f"denied packets from {SOURCES:,} sources, {kind}": ((), as_it_is, *flood, *more)
        for kind, more in (("UDP", ()), ("SYN", ("--tcp",)))
    }
    for what, rates in places.rates(loads).items():
        yield compared(what, rates, FORGETFUL, at_least=0.97)

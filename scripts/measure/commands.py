"""How long commands take: beside nft, ufw, iptables, and the kernel given the same bytes."""

import os
import random
import re
import shutil
import socket
import statistics
import subprocess

from run import FLOOR, in_turn, ratio, run, timed
from table import Row

MILLION = 1_000_000


class Machine:
    """The programs that are compared, and the folder for what they read."""

    def __init__(self, palisade, floor, folder, newer_nft, ufw):
        self.palisade, self.floor, self.folder, self.newer_nft, self.ufw = palisade, floor, folder, newer_nft, ufw

    def write(self, name, text):
        path = f"{self.folder}/{name}"
        with open(path, "w", encoding="ascii") as file:
            file.write(text)
        return path

    def many(self, name, lines):
        """A policy that admits those of a long list."""
        self.write(f"{name}.txt", "\n".join(lines) + "\n")
        return self.write(f"{name}.yaml", f"""version: 1
groups:
  many: [{{ file: {name}.txt }}]
services:
  ssh: {{ ports: 22/tcp, from: many }}
""")

    def command(self, policy, *arguments):
        return [self.palisade, "--policy", policy, *arguments]

    def nft_text(self, policy):
        path = policy.replace(".yaml", ".nft")
        with open(path, "w", encoding="utf-8") as file:
            subprocess.run(self.command(policy, "show", "--format", "nft"), stdout=file, check=True)
        return path

    def empty(self, _turn=0):
        """No table of palisade's, nothing kept, and no work left to the kernel."""
        # Of what a newer nft has loaded an older one dies.
        run([*self.newer_nft, "-f", "-"], input="add table inet palisade\ndelete table inet palisade\n")
        for entry in os.scandir("/var/lib/palisade"):
            shutil.rmtree(entry.path) if entry.is_dir() else os.unlink(entry.path)
        # What was deleted is freed by a thread of the kernel, which the next transaction waits for.
        run([*self.newer_nft, "-f", "-"], input="add table inet settled\ndelete table inet settled\n")


def addresses(count):
    """Single addresses, without order, each once."""
    return [dotted((n * 0x9E3779B1 & 0xFFFF_FFFF) % 0xD000_0000 + 0x0100_0000) for n in range(count)]


def mixture(count):
    """As lists of blocked addresses go: four in five are single ones, the others networks."""
    chosen = random.Random(7)
    lines = set()
    while len(lines) < count:
        length = 32 if len(lines) % 5 else chosen.randrange(20, 31)
        address = chosen.randrange(1 << 24, 224 << 24) & -1 << (32 - length)
        lines.add(dotted(address) if length == 32 else f"{dotted(address)}/{length}")
    return sorted(lines)


def dotted(address):
    return ".".join(str(address >> shift & 255) for shift in (24, 16, 8, 0))


def large(machine, runs, name, what, lines, bounds):
    """Everything about one long list. `bounds` are those of the floor, of nft, and of a newer nft."""
    policy = machine.many(name, lines)
    text = machine.nft_text(policy)
    with open(text, encoding="utf-8") as file:
        usual = machine.write(f"{name}-usual.nft", re.sub(r"\n\s*size \d{4,}\b;?", "", file.read()))
    contenders = {
        "palisade": (machine.empty, machine.command(policy, "apply")),
        "nft -f": (machine.empty, ["nft", "-f", usual]),
        FLOOR: (machine.empty, [machine.floor, policy]),
        "newer nft": (machine.empty, [*machine.newer_nft, "-f", usual]),
        "sized": (machine.empty, ["nft", "-f", text]),
    }
    taken = in_turn(runs, contenders)
    ours = taken["palisade"]
    rows = [
        Row(f"apply, {what}", FLOOR, ours.median, taken[FLOOR].median, ratio(ours, taken[FLOOR]), at_most=bounds[0],
            unit="s"),
        Row("", version(["nft"]), ours.median, taken["nft -f"].median, ratio(ours, taken["nft -f"]),
            at_most=bounds[1], unit="s"),
        Row("", version(machine.newer_nft), ours.median, taken["newer nft"].median,
            ratio(ours, taken["newer nft"]), at_most=bounds[2], unit="s"),
        Row("", f"{version(['nft'])}, told the size as palisade tells it", ours.median, taken["sized"].median,
            ratio(ours, taken["sized"]), unit="s"),
        Row("its memory at most", version(["nft"]), ours.peak, taken["nft -f"].peak,
            ours.peak / taken["nft -f"].peak, unit="MB"),
        Row("", "", ours.peak, at_most=120, unit="MB"),
    ]
    return rows + beside(machine, runs, policy, what)


def beside(machine, runs, policy, what):
    """What the commands take when the kernel holds the policy already, or nearly."""
    machine.empty()
    run(machine.command(policy, "apply"))

    def nothing(_turn):
        pass

    taken = in_turn(runs, {
        "apply": (nothing, machine.command(policy, "apply")),
        "diff": (nothing, machine.command(policy, "diff")),
        "deep": (nothing, machine.command(policy, "diff", "--deep")),
    })
    listed = policy.replace(".yaml", ".txt")
    with open(listed, encoding="ascii") as file:
        lines = file.read().split()
    other = lines[:-10] + [f"240.0.0.{n}" for n in range(10)]

    def ten_changed(turn):
        machine.write(os.path.basename(listed), "\n".join(lines if turn % 2 else other) + "\n")

    changed = in_turn(runs, {"apply": (ten_changed, machine.command(policy, "apply"))})["apply"]
    # What the last of them did not load.
    ten_changed(runs + 1)
    differing = statistics.median(timed(machine.command(policy, "diff"), status=2)[0] for _ in range(runs))
    machine.empty()
    return [
        Row(f"apply again, nothing changed, {what}", "", taken["apply"].median, at_most=0.25, unit="s"),
        Row("apply, 10 of them changed", "", changed.median, at_most=0.35, unit="s"),
        Row("diff", "", taken["diff"].median, at_most=0.25, unit="s"),
        Row("diff --deep: each is looked up", "", taken["deep"].median, at_most=3, unit="s"),
        Row("diff, 10 of them changed, and who gains and loses access", "", differing, unit="s"),
    ]


def version(nft):
    said = run([*nft, "--version"]).split()
    return f"nft -f, {said[1].lstrip('v')}"


def small(machine, runs, policy):
    """One server, one dashboard."""
    text = machine.nft_text(policy)
    rules = machine.write("jesse.iptables", IPTABLES)
    contenders = {
        "palisade": (machine.empty, machine.command(policy, "apply")),
        "nft": (machine.empty, ["nft", "-f", text]),
        "iptables": (machine.empty, ["iptables-restore", rules]),
    }
    taken = in_turn(runs, contenders)
    machine.empty()
    run(["iptables", "-P", "INPUT", "ACCEPT"])
    run(["iptables", "-F"])
    ours = taken["palisade"]
    rows = [
        Row("apply, three addresses", version(["nft"]), ours.median, taken["nft"].median,
            ratio(ours, taken["nft"]), at_most=1.0, unit="s"),
        Row("", "iptables-restore, IPv4 alone", ours.median, taken["iptables"].median,
            ratio(ours, taken["iptables"]), unit="s"),
    ]
    machine.ufw("default", "deny", "incoming")
    machine.ufw("allow", "22/tcp")
    for source in ("1.1.1.1", "1.1.1.2", "1.1.1.3"):
        machine.ufw("allow", "proto", "tcp", "from", source, "to", "any", "port", "9000")
    machine.ufw("--force", "enable")
    reloads = in_turn(max(3, runs // 10), {
        "palisade": (machine.empty, machine.command(policy, "apply")),
        "ufw": (lambda _turn: None, machine.ufw.command("reload")),
    })
    machine.ufw("disable")
    machine.empty()
    rows.append(Row("", "ufw reload of the same", reloads["palisade"].median, reloads["ufw"].median,
                    ratio(reloads["palisade"], reloads["ufw"]), at_most=0.01, unit="s"))
    # Tracked as soon as a table asks for its state: palisade sees whether it still may, and asks the kernel for all.
    run(["nft", "-f", "-"], input="table inet tracking { chain in { type filter hook input priority 0; ct state new; }; }\n")
    talking = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)

    def talked(_turn):
        machine.empty()
        talking.sendto(b"", ("127.0.0.1", 9))

    beside_one = in_turn(runs, {name: (talked, contenders[name][1]) for name in ("palisade", "nft")})
    run(["nft", "delete", "table", "inet", "tracking"])
    run(["conntrack", "--flush"])
    machine.empty()
    rows.append(Row("", f"{version(['nft'])}, with a connection that could lose its access", beside_one["palisade"].median,
                    beside_one["nft"].median, ratio(beside_one["palisade"], beside_one["nft"]), unit="s"))
    return rows


# What tests/policies/three-addresses.yaml says, as far as iptables can say it.
IPTABLES = """*filter
:INPUT DROP [0:0]
:FORWARD DROP [0:0]
:OUTPUT ACCEPT [0:0]
-A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A INPUT -i lo -j ACCEPT
-A INPUT -p tcp --dport 22 -j ACCEPT
-A INPUT -p tcp -s 1.1.1.1 --dport 9000 -j ACCEPT
-A INPUT -p tcp -s 1.1.1.2 --dport 9000 -j ACCEPT
-A INPUT -p tcp -s 1.1.1.3 --dport 9000 -j ACCEPT
-A INPUT -p icmp --icmp-type echo-request -j ACCEPT
COMMIT
"""


def services(machine, runs):
    """10,000 services for 100,000 sources: each for ten of its own, and each for all of them."""
    listed = addresses(100_000)
    machine.write("sources.txt", "\n".join(listed) + "\n")
    own = [f"[{', '.join(listed[service * 10:service * 10 + 10])}]" for service in range(10_000)]
    own, common = (machine.write(name, "\n".join([
        "version: 1", groups, "services:", "  ssh: { ports: 22/tcp, from: any }",
        *(f"  s{n}: {{ ports: {10_000 + n}/tcp, from: {sources} }}" for n, sources in enumerate(lists)),
    ]) + "\n") for name, groups, lists in (
        ("own.yaml", "", own), ("common.yaml", "groups: { sources: [{ file: sources.txt }] }", ["sources"] * 10_000)))
    rows = []
    for policy, what in ((common, "one list for all"), (own, "ten of its own for each")):
        text = machine.nft_text(policy)
        taken = in_turn(runs, {
            # Without any right it has nothing to ask the kernel.
            "alone": (machine.empty, ["setpriv", "--bounding-set", "-all", *machine.command(policy, "check")]),
            "check": (machine.empty, machine.command(policy, "check")),
            "nft": (machine.empty, ["nft", "-c", "-f", text]),
        })
        rows += [
            Row(f"check and compile, 10,000 services, 100,000 sources, {what}", "", taken["alone"].median, at_most=0.3,
                unit="s"),
            Row("check, the kernel's word included", "nft -c -f of the same", taken["check"].median, taken["nft"].median,
                ratio(taken["check"], taken["nft"]), at_most=1, unit="s"),
        ]
    return rows


def explained(machine, runs, policy):
    """`explain` beside a set of a million elements in another table, which nft takes seconds to list."""
    elements = ", ".join(f"11.{n >> 16}.{n >> 8 & 255}.{n & 255}" for n in range(MILLION))
    run(["nft", "-f", machine.write("million.nft", f"""table ip million {{
 set many {{ type ipv4_addr; size {MILLION}; elements = {{ {elements} }}; }}
 chain in {{ type filter hook input priority 0; ip saddr @many drop; }}
}}
""")])
    run(machine.command(policy, "apply"))
    run(["ip", "link", "add", "outer", "type", "veth", "peer", "name", "inner"])
    run(["ip", "address", "add", "203.0.113.1/24", "dev", "outer"])
    run(["ip", "link", "set", "outer", "up"])
    run(["ip", "route", "add", "default", "dev", "outer"])
    seconds = []
    for turn in range(runs + 1):
        # The first is in the set, and the second is not.
        source = ("11.7.161.31", "11.15.66.64")[turn % 2]
        taken, _, said = timed(machine.command(policy, "explain", "22/tcp", "--from", source, "--to", "203.0.113.1",
                                               "--on", "outer"), status=(2, 0)[turn % 2])
        if ("table ip million" in said) != (turn % 2 == 0):
            raise SystemExit(f"explain is wrong about {source}:\n{said}")
        seconds.append(taken)
    run(["nft", "delete", "table", "ip", "million"])
    run(["ip", "link", "delete", "outer"])
    machine.empty()
    return [Row("explain, beside a set of a million", "", statistics.median(seconds[1:]), unit="s")]

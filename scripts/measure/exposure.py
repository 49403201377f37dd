"""How long `exposure` and the plan take on a machine with many published ports, by rules as Docker 28 writes them."""

import os
import statistics
import subprocess
import sys

from run import run
from table import Row

BRIDGES, PORTS, SERVICES = 60, 500, 300


def processor_time(command):
    """Seconds of processor time of a command that has to succeed."""
    quiet = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    process = subprocess.Popen(command, **quiet)
    _, ended, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(ended)
    if process.returncode not in (0, 2):
        sys.exit(f"{' '.join(command)} ended with {process.returncode}")
    return usage.ru_utime + usage.ru_stime


def bridges(container, outside):
    """The machine's links, of which the other ends are elsewhere."""
    lines = [f"link add eth0 type veth peer name outer netns {outside}", "addr add 203.0.113.1/24 dev eth0"]
    for number in range(BRIDGES):
        lines += [f"link add br-{number} type bridge", f"addr add 172.20.{number}.1/24 dev br-{number}",
                  f"link add port{number} type veth peer name box{number} netns {container}",
                  f"link set port{number} master br-{number} up", f"link set br-{number} up"]
    run(["ip", "-b", "-"], input="\n".join([*lines, "link set eth0 up", "route add default dev eth0", ""]))
    with open("/proc/sys/net/ipv4/ip_forward", "w", encoding="ascii") as file:
        file.write("1")


def rules():
    """As Docker 28 writes them for containers of 60 networks."""
    every = [f"br-{number}" for number in range(BRIDGES)]
    published = [(10000 + n, f"br-{n % BRIDGES}", f"172.20.{n % BRIDGES}.{2 + n // BRIDGES}") for n in range(PORTS)]
    raw = [f"-A PREROUTING -d {at} ! -i {by} -j DROP" for _, by, at in published]
    stages = [f"DOCKER-{name}" for name in ("BRIDGE", "CT", "FORWARD", "ISOLATION-STAGE-1", "ISOLATION-STAGE-2", "USER")]
    chains = [f":{name} - [0:0]" for name in ("DOCKER", *stages)]
    filtered = [
        "-A FORWARD -j DOCKER-USER",
        "-A FORWARD -j DOCKER-FORWARD",
        *(f"-A DOCKER -d {at} ! -i {by} -o {by} -p tcp --dport 80 -j ACCEPT" for _, by, at in published),
        *(f"-A DOCKER ! -i {by} -o {by} -j DROP" for by in every),
        *(f"-A DOCKER-BRIDGE -o {by} -j DOCKER" for by in every),
        *(f"-A DOCKER-CT -o {by} -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT" for by in every),
        *(f"-A DOCKER-FORWARD -j {name}" for name in ("DOCKER-CT", "DOCKER-ISOLATION-STAGE-1", "DOCKER-BRIDGE")),
        *(f"-A DOCKER-FORWARD -i {by} -j ACCEPT" for by in every),
        *(f"-A DOCKER-ISOLATION-STAGE-1 -i {by} ! -o {by} -j DOCKER-ISOLATION-STAGE-2" for by in every),
        *(f"-A DOCKER-ISOLATION-STAGE-2 -o {by} -j DROP" for by in every),
    ]
    translated = [
        "-A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER",
        *(f"-A POSTROUTING -s 172.20.{n}.0/24 ! -o br-{n} -j MASQUERADE" for n in range(BRIDGES)),
        *(f"-A DOCKER ! -i {by} -p tcp --dport {port} -j DNAT --to-destination {at}:80" for port, by, at in published),
    ]
    hooks = {"raw": "PREROUTING", "filter": "INPUT FORWARD", "nat": "PREROUTING POSTROUTING"}
    own = {"raw": [], "filter": chains, "nat": [":DOCKER - [0:0]"]}
    tables = [("raw", raw), ("filter", filtered), ("nat", translated)]
    lines = []
    for name, of_table in tables:
        bases = [f":{hook} ACCEPT [0:0]" for hook in hooks[name].split()]
        lines += [f"*{name}", *bases, *own[name], *of_table, "COMMIT"]
    return "\n".join([*lines, ""])


def policy(services):
    """Every third service is for everyone, and of the ports most are published."""
    lines = ["version: 1", "groups: { admins: [198.51.100.0/24] }", "services:", "  ssh: { ports: 22/tcp, from: any }"]
    lines += [f"  s{n}: {{ ports: {10000 + n}/tcp, from: {'admins' if n % 3 else 'any'} }}" for n in range(services)]
    return "\n".join([*lines, ""])


def rows(machine, runs, container, outside):
    """`exposure`, and the plan of a policy with one service less."""
    bridges(container, outside)
    run(["iptables-nft-restore"], input=rules())
    before, after = (machine.write(f"{n}-services.yaml", policy(n)) for n in (SERVICES, SERVICES - 1))
    run(machine.command(before, "apply"))
    found = []
    for what, bound, command in (("exposure", 0.3, machine.command(before, "exposure")),
                                 ("the plan of a change", None, machine.command(after, "apply", "--dry-run"))):
        taken = [processor_time(command) for _ in range(runs + 1)]
        what = f"{what}, {PORTS} published ports of {BRIDGES} bridges, processor time"
        found.append(Row(what, "", statistics.median(taken[1:]), at_most=bound, unit="s"))
    run(["nft", "flush", "ruleset"])
    for link in ("eth0", *(f"br-{number}" for number in range(BRIDGES)), *(f"port{number}" for number in range(BRIDGES))):
        run(["ip", "link", "delete", link])
    machine.empty()
    return found

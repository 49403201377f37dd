"""How fast a container sends to the outside, masqueraded by Docker's rules, with palisade and without."""

import ctypes
import os
import signal
import socket
import statistics
import sys
import threading
import time

from run import run
from table import Row

SECONDS, HOST, PEER = 0.4, "203.0.113.1", ("203.0.113.9", 4242)
CLONE_NEWNET = 0x40000000
libc = ctypes.CDLL(None, use_errno=True)


def inside(process, make):
    """A socket that was made in the network namespace of a process: a thread goes there, and ends there."""
    made = []

    def go():
        namespace = os.open(f"/proc/{process}/ns/net", os.O_RDONLY)
        if libc.setns(namespace, CLONE_NEWNET) == 0:
            made.append(make())
        os.close(namespace)

    thread = threading.Thread(target=go)
    thread.start()
    thread.join()
    return made[0] if made else sys.exit("a namespace could not be entered")


def receive(listener):
    """Takes one stream after another, and tells its sender how much came and from whom."""
    buffer = bytearray(1 << 20)
    while True:
        stream, (sender, _) = listener.accept()
        came = 0
        while length := stream.recv_into(buffer):
            came += length
        stream.sendall(f"{came} {sender}".encode())
        stream.close()


def throughput(container):
    """Of one stream from the container to the outside, in bits a second."""
    stream = inside(container, lambda: socket.create_connection(PEER, timeout=10))
    data, begun = bytes(1 << 20), time.perf_counter()
    while time.perf_counter() - begun < SECONDS:
        stream.sendall(data)
    stream.shutdown(socket.SHUT_WR)
    came, sender = stream.recv(64).decode().split()
    taken = time.perf_counter() - begun
    stream.close()
    if sender != HOST:
        sys.exit(f"the container was seen as {sender}: it was not masqueraded")
    return int(came) * 8 / taken


def between(container, outside):
    """This namespace becomes a host with Docker's bridge, the container behind it, and a peer outside."""
    run(["ip", "link", "add", "docker0", "type", "bridge"])
    for inner, link in ((container, "veth0"), (outside, "eth0")):
        run(["ip", "link", "add", link, "type", "veth", "peer", "name", "eth0", "netns", str(inner)])
    run(["ip", "link", "set", "veth0", "master", "docker0", "up"])
    for process, device, address in ((None, "docker0", "172.17.0.1/16"), (None, "eth0", f"{HOST}/24"),
                                     (container, "eth0", "172.17.0.2/16"), (outside, "eth0", f"{PEER[0]}/24")):
        entered = ["nsenter", f"--net=/proc/{process}/ns/net", "--"] if process else []
        run([*entered, "ip", "address", "add", address, "dev", device])
        run([*entered, "ip", "link", "set", device, "up"])
    run(["nsenter", f"--net=/proc/{container}/ns/net", "--", "ip", "route", "add", "default", "via", "172.17.0.1"])
    run(["iptables-nft-restore", "tests/data/rulesets/docker-28.5-iptables.iptables-save"])
    for name in ("ipv4/ip_forward", "bridge/bridge-nf-call-iptables"):
        if os.path.exists(f"/proc/sys/net/{name}"):
            with open(f"/proc/sys/net/{name}", "w", encoding="ascii") as file:
                file.write("1")


def rows(machine, runs, policy, container, outside):
    """With and without palisade, by the stream and packet by packet."""
    changes = (
        lambda: run(machine.command(policy, "apply")),
        lambda: run(machine.command(policy, "disable", "--yes")),
    )
    between(container, outside)
    listener = inside(outside, lambda: socket.create_server(PEER))
    receiver = os.fork()
    if receiver == 0:
        receive(listener)
    found = []
    try:
        for what, at_once in (("a container's stream to the outside", "65535"), ("the same, packet by packet", "1")):
            run(["nsenter", f"--net=/proc/{container}/ns/net", "--", "ip", "link", "set", "eth0", "gso_max_segs", at_once])
            throughput(container)
            speeds = ([], [])
            for turn in range(runs):
                both = list(zip(changes, speeds))
                # Each goes first in every other turn.
                for change, measured in both if turn % 2 else reversed(both):
                    change()
                    measured.append(throughput(container))
            ours, theirs = map(statistics.median, speeds)
            ratio = statistics.median(a / b for a, b in zip(*speeds))
            found.append(Row(what, "Docker's rules alone", ours, theirs, ratio, unit="bit/s"))
    finally:
        os.kill(receiver, signal.SIGKILL)
    run(["nft", "flush", "ruleset"])
    return found

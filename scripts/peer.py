#!/usr/bin/env python3
"""Both ends of scripts/try and scripts/vagrant-test: listeners that echo, connections from any of this machine's addresses.

    peer.py expectations POLICY     print what the policy's `expect` lines say, commented out or not: `allow 22/tcp ADDRESS`
    peer.py listen ADDRESS... < EXPECTATIONS    echo on every port they name; print `ready`, and go on until killed
    peer.py probe IPV4 IPV6 [open] < EXPECTATIONS    try them all on that host; print a line for each, exit 1 if any fails;
                                    with `open`, each is expected to connect
    peer.py now IPV4 IPV6 < EXPECTATIONS    print those that fail, and succeed
    peer.py talk SOURCE ADDRESS PORT    connect, print `ready` and the own port, and go on until no answer comes, or the other
                                    side ends it
    peer.py hammer ADDRESS PORT...  print `ready`, connect to the ports all the time until standard input ends, then print
                                    how often it was tried, and which ports answered how often
"""
import errno
import ipaddress
import os
import re
import selectors
import socket
import sys
import time
from concurrent.futures import ThreadPoolExecutor

# An open path answers within a millisecond; TCP would send its first packet again after a second.
SILENCE = float(os.environ.get("SILENCE", "0.5"))
PATIENCE = 10 * SILENCE
# Who echoes sends it back, and a web server answers it.
QUESTION = b"GET / HTTP/1.0\r\n\r\n"
ADDRESS = r"[\"']?[0-9A-Fa-f]*[.:][0-9A-Fa-f.:]*[\"']?"
PORT = r"\d+/(?:tcp|udp)"
LINE = re.compile(
    rf"^\s*#?\s*-\s*\{{\s*(allow|deny):\s*({PORT}|\[\s*{PORT}(?:\s*,\s*{PORT})*\s*\]),\s*from:\s*"
    rf"({ADDRESS}|\[\s*{ADDRESS}(?:\s*,\s*{ADDRESS})*\s*\])\s*(?:,\s*on:\s*eth0\s*)?\}}"
)


def expectations(path):
    text = open(path, encoding="utf-8").read()
    found = []
    for verdict, ports, sources in (match.groups() for match in map(LINE.match, text.splitlines()) if match):
        for port in re.findall(PORT, ports):
            for source in sources.strip("[]").split(","):
                found.append((verdict, port, str(ipaddress.ip_address(source.strip().strip("\"'")))))
    if not found:
        spare = next(port for port in range(8080, 65536) if str(port) not in text)
        found = [("deny", f"{spare}/tcp", source) for source in ("203.0.113.66", "2001:db8::66")]
    return found


def family(address):
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def kind(port):
    number, transport = port.split("/")
    return int(number), socket.SOCK_STREAM if transport == "tcp" else socket.SOCK_DGRAM


def listen(addresses, wanted):
    selector = selectors.DefaultSelector()
    for port in sorted({port for _, port, _ in wanted}):
        number, how = kind(port)
        for address in addresses:
            made = socket.socket(family(address), how)
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family(address) == socket.AF_INET6:
                made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            made.bind((address, number))
            if how == socket.SOCK_STREAM:
                made.listen(1024)
            selector.register(made, selectors.EVENT_READ, "listener" if how == socket.SOCK_STREAM else "datagrams")
    print("ready", flush=True)
    while True:
        for key, _ in selector.select():
            ready = key.fileobj
            try:
                if key.data == "listener":
                    selector.register(ready.accept()[0], selectors.EVENT_READ, "stream")
                elif key.data == "datagrams":
                    ready.sendto(*ready.recvfrom(64))
                else:
                    ready.sendall(ready.recv(64) or (_ for _ in ()).throw(ConnectionError()))
            except OSError:
                if key.data == "stream":
                    selector.unregister(ready)
                    ready.close()


def connects(source, target, port, wait):
    number, how = kind(port)
    with socket.socket(family(source), how) as probe:
        probe.settimeout(wait)
        probe.bind((source, 0))
        try:
            probe.connect((target, number))
            probe.send(QUESTION)
            return probe.recv(4) != b""
        except (TimeoutError, ConnectionError, PermissionError):
            return False
        except OSError as error:
            if error.errno in (101, 113):  # network or host unreachable: an ICMP refusal
                return False
            raise


def probe(v4, v6, wanted):
    def one(expected):
        verdict, port, source = expected
        wait = PATIENCE if verdict == "allow" else SILENCE
        return (*expected, connects(source, v6 if ":" in source else v4, port, wait))

    with ThreadPoolExecutor(max(1, len(wanted))) as pool:
        return list(pool.map(one, wanted))


def talk(source, target, port):
    """A connection that lasts, which somebody may cut."""
    with socket.create_connection((target, kind(port)[0]), PATIENCE, (source, 0)) as made:
        print("ready", made.getsockname()[1], flush=True)
        try:
            while True:
                made.sendall(QUESTION)
                if not made.recv(64):
                    return 0
                time.sleep(SILENCE / 5)
        except OSError:
            return 0


def hammer(address, ports):
    """Many attempts at once, each for a second, so that the first packet of some is sent whatever the instant.

    A port that has answered is left alone: sshd would start a process for each attempt, and keep everyone else out.
    """
    answered, tries, waiting = dict.fromkeys(ports, 0), 0, []
    selector = selectors.DefaultSelector()
    selector.register(sys.stdin, selectors.EVENT_READ, None)
    print("ready", flush=True)
    while True:
        now = time.monotonic()
        for port in (port for port in ports if not answered[port]):
            attempt = socket.socket(family(address), socket.SOCK_STREAM)
            attempt.setblocking(False)
            tries += 1
            if attempt.connect_ex((address, kind(port)[0])) == errno.EINPROGRESS:
                selector.register(attempt, selectors.EVENT_WRITE, port)
                waiting.append((now + 1, attempt))
            else:
                attempt.close()
        for key, _ in selector.select(0.05):
            if key.data is None:
                print(tries, "tries,", *(f"{port}: {count}" for port, count in answered.items()))
                return 0
            answered[key.data] += key.fileobj.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0
            selector.unregister(key.fileobj)
            key.fileobj.close()
        while waiting and waiting[0][0] < now:
            late = waiting.pop(0)[1]
            if late.fileno() >= 0:
                selector.unregister(late)
                late.close()
        time.sleep(max(0, now + 0.05 - time.monotonic()))


def main(command, *arguments):
    if command == "expectations":
        for expected in expectations(*arguments):
            print(*expected)
        return 0
    if command == "talk":
        return talk(*arguments)
    if command == "hammer":
        return hammer(arguments[0], arguments[1:])
    wanted = [tuple(line.split()) for line in sys.stdin]
    if command == "listen":
        return listen(arguments, wanted)
    if "open" in arguments:
        wanted = sorted({("allow", port, source) for _, port, source in wanted})
    width = max(len(source) for _, _, source in wanted)
    failed = 0
    for verdict, port, source, connected in probe(*arguments[:2], wanted):
        good = connected == (verdict == "allow")
        failed += not good
        if command == "probe" or not good:
            mark = "" if command == "now" else "ok      " if good else "FAILED  "
            print(f"    {mark}{source:<{width}}  {'connects to' if connected else 'gets no answer from'} {port}")
    if command == "now":
        if not failed:
            print("    nothing of what was tried")
        return 0
    return 1 if failed else 0


if __name__ == "__main__":
    try:
        sys.exit(main(*sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)

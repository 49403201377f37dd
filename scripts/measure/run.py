"""Running commands in turns: how long each takes, and how much memory at most."""

import multiprocessing
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field


@dataclass
class Taken:
    """Seconds and peak megabytes of each run."""

    seconds: list = field(default_factory=list)
    memory: list = field(default_factory=list)

    @property
    def median(self):
        return statistics.median(self.seconds)

    @property
    def peak(self):
        return max(self.memory)


def run(command, **more):
    """Runs a command that has to succeed, and gives what it printed."""
    more = {"stdin": subprocess.DEVNULL, **more} if "input" not in more else more
    done = subprocess.run(command, capture_output=True, text=True, **more)
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    return done.stdout


def timed(command, status=0):
    """Seconds, peak memory in MB, and what was printed."""
    LAUNCHER.send(command)
    ended, seconds, memory, said = LAUNCHER.recv()
    if ended != status:
        sys.exit(f"{' '.join(command)} ended with {ended}:\n{said}")
    return seconds, memory, said


def launch(requests):
    """Runs what is asked for, until nobody asks any more."""
    while True:
        try:
            command = requests.recv()
        except EOFError:
            os._exit(0)
        with tempfile.TemporaryFile("w+", dir="/run", encoding="utf-8") as said:
            begun = time.perf_counter()
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=said, stderr=subprocess.STDOUT)
            _, ended, usage = os.wait4(process.pid, 0)
            taken = time.perf_counter() - begun
            process.returncode = os.waitstatus_to_exitcode(ended)
            said.seek(0)
            requests.send((process.returncode, taken, usage.ru_maxrss / 1024, said.read(10_000)))


def launcher():
    """A process that runs commands. The kernel counts what a process held before it became another program among its
    peak memory, so this one is made while there is little of it."""
    ours, theirs = multiprocessing.Pipe()
    if os.fork() == 0:
        ours.close()
        launch(theirs)
    theirs.close()
    return ours


LAUNCHER = launcher()


def in_turn(runs, contenders):
    """Runs each of `{name: (before, command)}` in turns, after one that does not count, and gives `{name: Taken}`.

    What slows the machine slows them all. The command of the kernel's floor prints its seconds itself.
    """
    taken = {name: Taken() for name in contenders}
    for turn in range(runs + 1):
        for name, (before, command) in contenders.items():
            before(turn)
            seconds, memory, said = timed(command)
            if turn > 0:
                taken[name].seconds.append(float(said) if name == FLOOR else seconds)
                taken[name].memory.append(memory)
    return taken


FLOOR = "the kernel's floor"


def ratio(ours, theirs):
    """The median of the ratios turn by turn."""
    return statistics.median(a / b for a, b in zip(ours.seconds, theirs.seconds))

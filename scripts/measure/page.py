"""docs/performance.md and its picture, from what was measured."""

import os
import platform
import re

import curve
from run import run
from table import HEAD, in_words, markdown


def steps(said):
    """The medians that criterion printed: `{policy: {step: "84.4 ms"}}`."""
    found = {}
    # A long name has a line of its own.
    for name, figure in re.findall(r"^(\S.*?/\w+)\s+time:\s+\[\S+ \S+ (\S+ \S+) \S+ \S+\]", said, re.MULTILINE):
        policy, step = name.rsplit("/", 1)
        found.setdefault(policy, {})[step] = figure
    return found


def steps_table(found):
    names = list(dict.fromkeys(step for policy in found.values() for step in policy))
    return markdown(["policy", *names], [[policy, *(taken.get(name, "") for name in names)]
                                         for policy, taken in found.items()])


def curve_table(found):
    head = ["elements", *(f"{count:,}" for count in curve.COUNTS), "exponent"]
    return markdown(head, [[name, *(in_words(seconds, "s") for seconds in line), f"{curve.exponent(line):.2f}"]
                           for name, line in found.items()])


def machine():
    """What it was measured on."""
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        model = re.search(r"model name\s*: (.*)", file.read())
    with open("/etc/os-release", encoding="utf-8") as file:
        system = re.search(r'PRETTY_NAME="(.*)"', file.read())
    with open("/proc/meminfo", encoding="utf-8") as file:
        memory = int(re.search(r"MemTotal:\s+(\d+)", file.read())[1]) / (1 << 20)
    tools = [run([tool, "--version"]).strip().splitlines()[0] for tool in ("nft", "iptables")]
    return (f"{os.cpu_count()} × {model[1] if model else platform.machine()}, {memory:.0f} GiB, "
            f"{system[1] if system else platform.system()}, Linux {platform.release()}; {', '.join(tools)}")


def text(rows, found, medians, where, load, runs):
    """The whole page."""
    page = f"""# Performance

*Written by `scripts/bench --write`, which measures all of it anew. Palisade and what it is compared with take turns in one
run, so that whatever slows the machine slows both; figures are medians of {runs} turns, and ratios those of the ratios
turn by turn.*

Measured on {where}; load {load[0]:.1f} before, {load[1]:.1f} after. The kernel's floor is the time that the
kernel takes for the bytes that `apply` sends, prepared beforehand and sent with one system call (`benches/floor.rs`).
Whole processes are measured, from their start to their end. nft reads what `palisade show --format nft` prints, of long lists
without the set's size, which few people write; a row tells what it takes with the size. `apply` of three addresses is measured where
the kernel tracks no connection, but for the row that says otherwise. What packets cost is counted per second of the processor's
time (`benches/packets.rs`); `iptables` is Debian's, which stands on nf_tables.

{markdown(HEAD, [row.cells() for row in rows])}"""
    if found:
        page += f"""
## How it grows

![Seconds by the number of elements, both axes logarithmic](performance.svg)

The exponent is the slope of the line, over all counts or over the two greatest, whichever is more: 1 is linear.

{curve_table(found)}"""
    if medians:
        page += f"""
## The steps of the pipeline

Medians of criterion (`cargo bench --bench pipeline`). The delta is that of a policy which has one rule more.

{steps_table(medians)}"""
    return page

"""scripts/bench, once it is in a network namespace of its own: measures, prints the table, and writes the page."""

import argparse
import os
import sys

import commands
import curve
import egress
import exposure
import packets
import page
from commands import MILLION, Machine
from run import run
from table import HEAD, markdown
from ufw import Ufw

SECTIONS = ("small", "large", "mixture", "services", "explain", "exposure", "packets", "curve", "egress", "steps")


def arguments():
    parser = argparse.ArgumentParser()
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--container", type=int, required=True)
    parser.add_argument("--outside", type=int, required=True)
    parser.add_argument("--folder", required=True)
    parser.add_argument("sections", nargs="*", metavar="SECTION")
    given = parser.parse_args()
    if given.write and given.sections:
        parser.error("--write takes all sections")
    for section in given.sections:
        if section not in SECTIONS:
            parser.error(f"there is no section {section}; there are {', '.join(SECTIONS)}")
    return given


def main():
    given = arguments()
    wanted = given.sections or SECTIONS
    loads = [os.getloadavg()[0]]
    trixie = "target/boot/trixie"
    libraries = f"{trixie}/usr/lib/{os.uname().machine}-linux-gnu"
    newer = [f"{libraries}/ld-linux-x86-64.so.2", "--library-path", libraries, f"{trixie}/usr/sbin/nft"]
    if not all(map(os.path.exists, (newer[0], newer[-1]))):
        sys.exit(f"{trixie} holds no nft for this machine")
    machine = Machine(os.environ["PALISADE"], os.environ["PALISADE_FLOOR"], given.folder, newer,
                      Ufw("target/engines/bookworm"))
    three = f"{given.folder}/three-addresses.yaml"
    many, few = (10, 2) if given.quick else (40, 5)
    scale = 10 if given.quick else 1
    long_list = f"{MILLION // scale:,} "
    rows, found, medians = [], {}, {}
    for section in wanted:
        print(f"{section} ...", file=sys.stderr)
        match section:
            case "small":
                rows += commands.small(machine, many, three)
            case "large":
                rows += commands.large(machine, few, "addresses", long_list + "addresses",
                                       commands.addresses(MILLION // scale), (1.4, 1 / 4, 1 / 3))
            case "mixture":
                rows += commands.large(machine, few, "mixture", long_list + "addresses and networks",
                                       commands.mixture(MILLION // scale), (1.3, 1 / 3, None))
            case "services":
                rows += commands.services(machine, few)
            case "explain":
                rows += commands.explained(machine, many, three)
            case "exposure":
                rows += exposure.rows(machine, few, given.container, given.outside)
            case "packets":
                rows += packets.rows(machine.palisade, os.environ["PALISADE_PACKETS"], many)
            case "egress":
                rows += egress.rows(machine, many, three, given.container, given.outside)
            case "curve":
                found = curve.measured(machine, few)
            case "steps":
                medians = page.steps(run(["cargo", "bench", "--locked", "--bench", "pipeline"]))
    print(markdown(HEAD, [row.cells() for row in rows]))
    if found:
        print(page.curve_table(found))
    if medians:
        print(page.steps_table(medians))
    loads.append(os.getloadavg()[0])
    if given.write:
        with open("docs/performance.md", "w", encoding="utf-8") as file:
            file.write(page.text(rows, found, medians, page.machine(), loads, f"{few} to {many}"))
        with open("docs/performance.svg", "w", encoding="utf-8") as file:
            file.write(curve.drawn(found))


main()

"""CHANGELOG.md in the form of debian/changelog: changelog.py VERSION MAINTAINER SECONDS <CHANGELOG.md

VERSION is that of Cargo.toml, and SECONDS when it was made: what is not released yet is of this version and of then. Exits with 1
if nothing is said of the version.
"""
import datetime
import re
import sys
import textwrap
from email.utils import format_datetime


def sections(text):
    """Each section's heading, and its lines."""
    found = []
    for line in text.splitlines():
        if line.startswith("## "):
            found.append((line[3:].strip(), []))
        elif found:
            found[-1][1].append(line)
    return found


def entries(lines):
    """The lines of a section as Debian has them: headings in brackets, and wrapped items."""
    item = []

    def end():
        if item:
            yield textwrap.fill(" ".join(item), 78, initial_indent="  * ", subsequent_indent="    ",
                                break_long_words=False, break_on_hyphens=False)
            item.clear()

    for line in lines:
        if line.startswith("- "):
            yield from end()
            item.append(line[2:])
        elif line.startswith("  ") and item:
            item.append(line.strip())
        else:
            yield from end()
            if line.startswith("### "):
                yield f"\n  [ {line[4:].strip()} ]"
    yield from end()


def main():
    version, maintainer, seconds = sys.argv[1:]
    now = datetime.datetime.fromtimestamp(int(seconds), datetime.timezone.utc)
    stanzas, known = [], False
    for heading, lines in sections(sys.stdin.read()):
        said = "\n".join(entries(lines)).strip("\n")
        if not said:
            continue
        released = re.fullmatch(r"\[?([0-9][^\]\s]*)\]? - (\d{4}-\d{2}-\d{2})", heading)
        if released:
            of, date = released.groups()
            when = datetime.datetime.fromisoformat(date).replace(tzinfo=datetime.timezone.utc)
        elif heading == "Unreleased":
            of, when = version, now
        else:
            sys.exit(f"changelog.py: the heading `## {heading}` is neither `Unreleased` nor `VERSION - YYYY-MM-DD`")
        known = known or of == version
        stanzas.append(f"palisade ({of}) unstable; urgency=medium\n\n{said}\n\n -- {maintainer}  {format_datetime(when)}\n")
    if not known:
        sys.exit(f"changelog.py: CHANGELOG.md says nothing of {version}")
    print("\n".join(stanzas), end="")


main()

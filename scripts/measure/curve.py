"""How the commands grow with a list: measured from a thousand to a million elements, drawn, and their exponents."""

import math

from commands import addresses
from run import in_turn, run

COUNTS = (1_000, 10_000, 100_000, 1_000_000)
COLOURS = {"apply": "#2f6fde", "apply again": "#2a9d5c", "one element changed": "#d9822b", "diff": "#b04ac2"}


def measured(machine, runs):
    """`{command: [seconds for each count]}`"""
    found = {name: [] for name in COLOURS}
    for count in COUNTS:
        lines = addresses(count)
        policy = machine.many("curve", lines)
        # Small ones are quick, and take more turns to be told from chance.
        turns = runs if count > 100_000 else runs * 4

        def one_changed(turn, lines=lines):
            machine.many("curve", lines[:-1] + [f"240.0.0.{turn % 2}"])

        def nothing(_turn):
            pass

        fresh = in_turn(turns, {"apply": (machine.empty, machine.command(policy, "apply"))})
        held = in_turn(turns, {
            "apply again": (nothing, machine.command(policy, "apply")),
            "diff": (nothing, machine.command(policy, "diff")),
        })
        changed = in_turn(turns, {"one element changed": (one_changed, machine.command(policy, "apply"))})
        for name, taken in (fresh | held | changed).items():
            found[name].append(taken.median)
        machine.empty()
    run(["nft", "flush", "ruleset"])
    return found


def exponent(seconds):
    """The slope by least squares between the logarithms: 1 is linear. What does not depend on the list pulls it down,
    so it is taken of the two greatest counts too, and the greater one is said."""

    def slope(points):
        xs, ys = zip(*((math.log(x), math.log(y)) for x, y in points))
        x, y = sum(xs) / len(xs), sum(ys) / len(ys)
        return sum((a - x) * (b - y) for a, b in zip(xs, ys)) / sum((a - x) ** 2 for a in xs)

    points = list(zip(COUNTS, seconds))
    return max(slope(points), slope(points[-2:]))


WIDTH, HEIGHT, LEFT, TOP, RIGHT, BOTTOM = 720, 420, 70, 20, 700, 360


def drawn(found):
    """The picture: both axes logarithmic."""
    low = math.floor(math.log10(min(min(line) for line in found.values())))
    high = math.ceil(math.log10(max(max(line) for line in found.values())))
    across = (math.log10(COUNTS[0]), math.log10(COUNTS[-1]))

    def x(count):
        return LEFT + (math.log10(count) - across[0]) / (across[1] - across[0]) * (RIGHT - LEFT)

    def y(seconds):
        return BOTTOM - (math.log10(seconds) - low) / (high - low) * (BOTTOM - TOP)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="13">',
        "<title>Seconds by the number of elements</title>",
        # Readable on dark pages, too.
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>',
    ]
    for power in range(low, high + 1):
        at, label = y(10**power), f"{10**power:g} s" if power >= 0 else f"{10 ** (power + 3):g} ms"
        parts.append(f'<path d="M{LEFT} {at:.1f}H{RIGHT}" stroke="#d8d8d8"/>')
        parts.append(f'<text x="{LEFT - 8}" y="{at + 4:.1f}" text-anchor="end" fill="#333333">{label}</text>')
    for count in COUNTS:
        parts.append(f'<path d="M{x(count):.1f} {TOP}V{BOTTOM}" stroke="#d8d8d8"/>')
        anchor = {COUNTS[0]: "start", COUNTS[-1]: "end"}.get(count, "middle")
        parts.append(f'<text x="{x(count):.1f}" y="{BOTTOM + 20}" text-anchor="{anchor}" fill="#333333">{count:,}</text>')
    parts.append(f'<text x="{(LEFT + RIGHT) / 2}" y="{BOTTOM + 44}" text-anchor="middle" fill="#333333">elements</text>')
    for index, (name, line) in enumerate(found.items()):
        points = " ".join(f"{x(count):.1f},{y(seconds):.1f}" for count, seconds in zip(COUNTS, line))
        parts.append(f'<polyline points="{points}" fill="none" stroke="{COLOURS[name]}" stroke-width="2"/>')
        for point in points.split():
            parts.append('<circle cx="{}" cy="{}" r="3" fill="{}"/>'.format(*point.split(","), COLOURS[name]))
        label = f"{name}: n to the {exponent(line):.2f}"
        parts.append(f'<text x="{LEFT + 16}" y="{TOP + 20 + index * 20}" fill="{COLOURS[name]}">{label}</text>')
    return "\n".join([*parts, "</svg>\n"])

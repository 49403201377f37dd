"""The rows of the one table: what was measured beside what, the ratio, and what was wanted."""

from dataclasses import dataclass


@dataclass
class Row:
    """What palisade takes or does, beside a peer in the same run.

    The bound is one of the ratio where there is a peer, else one of palisade's own figure.
    """

    what: str
    peer: str
    ours: float
    theirs: float | None = None
    ratio: float | None = None
    at_least: float | None = None
    at_most: float | None = None
    unit: str = "/s"

    def met(self):
        """Whether it is as wanted; None where nothing is."""
        figure = self.ours if self.ratio is None else self.ratio
        if self.at_least is not None:
            return figure >= self.at_least
        return None if self.at_most is None else figure <= self.at_most

    def cells(self):
        """The row in words."""
        wanted = ""
        for bound, sign in ((self.at_least, "≥"), (self.at_most, "≤")):
            if bound is not None:
                wanted = f"{sign} {in_words(bound, self.unit) if self.ratio is None else f'{bound:.3g}'}"
        return [
            self.what,
            in_words(self.ours, self.unit),
            self.peer,
            "" if self.theirs is None else in_words(self.theirs, self.unit),
            "" if self.ratio is None else f"{self.ratio:.3f}" if self.ratio < 1 else f"{self.ratio:.2f}",
            wanted,
            {None: "", True: "yes", False: "**no**"}[self.met()],
        ]


HEAD = ["what", "palisade", "beside", "takes or does", "ratio", "wanted", "met"]


def in_words(figure, unit):
    """A figure with its unit, in three digits or so."""
    if unit == "s":
        return f"{figure:.2f} s" if figure >= 0.1 else f"{figure * 1000:.3g} ms"
    if unit == "MB":
        return f"{figure:.0f} MB"
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if figure >= size:
            return f"{figure / size:.3g} {letter}{unit}"
    return f"{figure:.3g} {unit}"


def markdown(head, rows):
    """A table as Markdown has it, its columns aligned."""
    lines = [head, *rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    lines.insert(1, ["-" * width for width in widths])
    return "".join("| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths)) + " |\n" for line in lines)

"""What is a line of the table of benchmarks? A figure with its spread beside the reference's, and the bar."""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class Line:
    """One line; `met` is None where there is no bar, or where this machine could not measure it."""

    what: str
    reference: str = ""
    ours: str
    figure: str = ""
    bar: str = ""
    met: bool | None = None
    note: str = ""


def ratio_line(what: str, reference: Sequence[float], ours: Sequence[float], bar: float, note: str = "") -> Line:
    """A ratio of seconds, round by round, at least `bar`: the reference's over ours."""
    ratios = [their / our for their, our in zip(reference, ours, strict=True)]
    ratio = statistics.median(ratios)
    return Line(
        what=what,
        reference=spread(reference, "s"),
        ours=spread(ours, "s"),
        figure=f"{ratio:.2f}x ({min(ratios):.2f} to {max(ratios):.2f})",
        bar=f"{bar:g}x",
        met=ratio >= bar,
        note=note,
    )


def seconds_line(what: str, seconds: Sequence[float], bar: float, note: str = "") -> Line:
    """Seconds, of which the median is to stay below `bar`."""
    return Line(
        what=what, ours=spread(seconds, "s"), bar=f"{bar:g} s", met=statistics.median(seconds) <= bar, note=note
    )


def spread(values: Sequence[float], unit: str) -> str:
    """Median (lowest to highest)."""
    return f"{statistics.median(values):.3g} {unit} ({min(values):.3g} to {max(values):.3g})"


def as_markdown(lines: Sequence[Line]) -> str:
    """The lines as a table, their notes below it."""
    rows = ["| what | reference | ours | ratio | bar | met |", "| --- | --- | --- | --- | --- | --- |"]
    notes = []
    for line in lines:
        mark = f" [{len(notes) + 1}]" if line.note else ""
        if line.note:
            notes.append(f"[{len(notes) + 1}] {line.note}")
        met = {True: "yes", False: "**no**", None: ""}[line.met]
        rows.append(f"| {line.what}{mark} | {line.reference} | {line.ours} | {line.figure} | {line.bar} | {met} |")
    return "\n".join([*rows, "", *(f"{note}  " for note in notes)]).rstrip() + "\n"


def sections(page: Path) -> dict[str, str]:
    """The sections of a page by their headings; what stands above the first has none."""
    head, *others = page.read_text().split("\n## ")
    return {"": head.strip()} | {each.partition("\n")[0]: each.partition("\n")[2].strip() for each in others}


def write_section(page: Path, name: str, text: str) -> None:
    """Put a section in place of the one of its name; what people wrote above the sections stays."""
    texts = sections(page) | {name: text.strip()}
    head = texts.pop("")
    page.write_text("\n\n## ".join([head, *(f"{each}\n\n{texts[each]}" for each in texts)]) + "\n")


def asked_for(rows: Mapping[str, object], doc: str | None) -> list[str]:
    """The rows that the command line names, or all; ends the program where one is none of them."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows", nargs="*", metavar="row", help=", ".join(rows))
    names: list[str] = parser.parse_args().rows or list(rows)
    if unknown := set(names) - set(rows):
        parser.error(f"no such row: {', '.join(sorted(unknown))}; the rows are {', '.join(rows)}")
    return names

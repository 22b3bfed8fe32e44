r"""How does a table become LaTeX that a default document compiles, in one column of text and whatever a name contains?

Default: pdfTeX, the encoding OT1 and a `\textwidth` of 345 pt; `\usepackage{booktabs}` is all that is asked.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

from ablation_suite.reports.latex_text import as_latex, latex, one_line, unguarded, width
from ablation_suite.reports.tables import Table

TEXT_WIDTH = 344.0
"""Points of one column of `article`, and one to spare."""
NARROW_WIDTH = 218.0
r"""The same of an article of two columns: 229 pt in `article`, 252 in IEEE's class, 219 in that of the ACL."""
_GAP = 6.0  # two \tabcolsep of 3 pt
_NARROWEST_TEXT = 48.0
_LONGEST_PIECE = 8
_LONGEST_WORD = 24


def to_latex(table: Table, room: float = TEXT_WIDTH) -> str:
    r"""A booktabs tabular of the texts, for `\input`; columns that a text cannot hold are set below each other.

    room: points of the text's width. Columns that are not for paper (`Column.paper`) are left out; CSV has them.
    """
    columns = [
        _Column(
            group=one_line(column.group),
            heading=one_line(column.heading),
            texts=tuple(one_line(row.texts.get(column.key, "")) for row in table.rows),
            number=column.number,
            strong=tuple(column.key in row.strong for row in table.rows),
            most=room / 2,
        )
        for column in table.columns
        if column.paper
    ]
    natural = [_room([column.natural for column in group]) for _, group in _groups(columns)]
    held = [max(width(name), own) for (name, _), own in zip(_groups(columns), natural, strict=True)]
    if _room(held) <= room:
        kinds = "".join("r" if each.number else "l" for each in columns)
        tabulars = [_tabular(kinds, _above(columns), [each.plain() for each in columns])]
    else:
        tabulars = []
        for block in _blocks(columns, room, table.num_heads):
            widths = _stretched(block, room)
            kinds = "".join(f"p{{{each:.1f}pt}}" for each in widths)
            tabulars.append(_tabular(kinds, _above(block, widths), [each.broken() for each in block]))
    body = "\n\\par\\medskip\n".join(tabulars)
    if table.note:
        body += f"\n\\par\\smallskip\\raggedright\\scriptsize {_sentences(one_line(table.note))}"
    # A hyphen that TeX adds would change a name, and an indentation make the table wider than the text.
    return f"{{\\footnotesize\\parindent=0pt\\setlength{{\\tabcolsep}}{{3pt}}\\hyphenpenalty=10000\n{body}\n\\par}}\n"


@dataclass(frozen=True, kw_only=True)
class _Column:
    """The plain texts of one column, and what widths they can have."""

    group: str
    heading: str
    texts: tuple[str, ...]
    number: bool
    strong: tuple[bool, ...]
    """Which cells are set in bold."""
    most: float
    """Points up to which a number is not broken."""

    @cached_property
    def natural(self) -> float:
        """The width in which nothing is broken."""
        return _widest([self.heading, *self.texts])

    @cached_property
    def whole(self) -> bool:
        """Whether the cells are numbers, and short as numbers are: these are never broken."""
        return self.number and _widest(self.texts) <= self.most

    @cached_property
    def narrow(self) -> float:
        """The least width."""
        titles = [*_pieces(self.group), *_pieces(self.heading)]
        if self.whole:
            return max(_widest(self.texts), _widest(titles))
        pieces = [*titles, *(piece for text in self.texts for piece in _pieces(text))]
        return max(_widest(pieces), min(self.natural, _NARROWEST_TEXT))

    def plain(self) -> list[str]:
        """Heading and cells as LaTeX."""
        return [latex(self.heading), *self._weighed(map(latex, self.texts))]

    def broken(self) -> list[str]:
        """The same for a column of a given width, flush as numbers or texts are."""
        side = r"\raggedleft " if self.number else r"\raggedright "
        texts = map(latex if self.whole else _breakable, self.texts)
        return [side + text for text in (_breakable(self.heading), *self._weighed(texts))]

    def _weighed(self, cells: Iterable[str]) -> Iterator[str]:
        for cell, strong in zip(cells, self.strong, strict=True):
            yield f"\\textbf{{{cell}}}" if strong else cell


def _room(widths: Sequence[float]) -> float:
    """Points that neighbouring columns take."""
    return sum(widths) + _GAP * (len(widths) - 1)


def _groups(columns: Sequence[_Column]) -> list[tuple[str, list[_Column]]]:
    """Neighbours that share what stands above them; each column without that is alone."""
    found: list[tuple[str, list[_Column]]] = []
    for column in columns:
        if column.group and found and found[-1][0] == column.group:
            found[-1][1].append(column)
        else:
            found.append((column.group, [column]))
    return found


def _above(columns: Sequence[_Column], widths: Sequence[float] = ()) -> list[str]:
    """The line above the headings with the rules under it; none where nothing stands there.

    widths: of columns that are broken, none where each takes what it needs.
    """
    if not any(column.group for column in columns):
        return []
    cells, rules, first = [], [], 1
    for name, group in _groups(columns):
        last = first + len(group) - 1
        if name:
            text, kind = (latex(name), "c")
            if widths:
                text = rf"\centering {_breakable(name)}"
                kind = f"p{{{_room(widths[first - 1 : last]):.1f}pt}}"
            end = "@{}" if last == len(columns) else ""  # as the table's, whose margins it takes over
            cells.append(rf"\multicolumn{{{len(group)}}}{{{kind}{end}}}{{{text}}}")
            rules.append(rf"\cmidrule(lr){{{first}-{last}}}")
        else:
            cells.append("")
        first = last + 1
    return [" & ".join(cells) + r" \tabularnewline", " ".join(rules)]


def _tabular(kinds: str, above: Sequence[str], columns: Sequence[Sequence[str]]) -> str:
    heading, *rows = (" & ".join(row) + " \\tabularnewline" for row in zip(*columns, strict=True))
    lines = [
        f"\\begin{{tabular}}{{@{{}}{kinds}@{{}}}}",
        "\\toprule",
        *above,
        heading,
        "\\midrule",
        # An empty group keeps a cell that starts with a bracket from being read as an optional argument.
        *("{}" + row for row in rows),
        "\\bottomrule",
        "\\end{tabular}",
    ]
    return "\n".join(lines)


def _blocks(columns: Sequence[_Column], room: float, num_heads: int) -> list[list[_Column]]:
    """The columns by blocks that fit the text; each repeats those that say what a row is.

    Columns that share what stands above them stay together where the text holds them.
    """
    heads = list(columns[:num_heads])
    blocks = [list(heads)]

    def fits(block: list[_Column], more: list[_Column]) -> bool:
        return _room([each.narrow for each in (*block, *more)]) <= room

    for _, group in _groups(columns[num_heads:]):
        for part in [group] if fits(heads, group) else [[column] for column in group]:
            if not fits(blocks[-1], part) and len(blocks[-1]) > num_heads:
                blocks.append(list(heads))
            blocks[-1] += part
    return blocks


def _stretched(block: Sequence[_Column], room: float) -> list[float]:
    """The widths of a block: the room that is left goes to the columns that want it, in proportion."""
    spare = room - _GAP * (len(block) - 1) - sum(each.narrow for each in block)
    wanted = [max(0.0, each.natural - each.narrow) for each in block]
    share = min(1.0, max(0.0, spare) / (sum(wanted) or 1.0))
    return [each.narrow + share * more for each, more in zip(block, wanted, strict=True)]


def _breakable(text: str) -> str:
    """The text with places at which TeX may break a long word, dearer than a space but not so dear as to add up."""
    *pieces, last = [unguarded("".join(map(as_latex, piece))) for piece in _pieces(text)] or [""]
    return "".join(piece if piece.endswith(" ") else piece + r"\penalty500 " for piece in pieces) + last


def _sentences(text: str) -> str:
    """Running text, of whose words TeX may break only those that no line would hold."""
    return " ".join(latex(word) if len(word) <= _LONGEST_WORD else _breakable(word) for word in text.split(" "))


def _pieces(text: str) -> list[str]:
    """The text in parts that may each stand on a line: words with the mark behind them, long ones in parts."""
    return re.findall(rf"[^\W_]{{1,{_LONGEST_PIECE}}}[^\w\s]?\s*|.\s*", text)


def _widest(texts: Iterable[str]) -> float:
    return max(map(width, texts), default=0.0)

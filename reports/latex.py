r"""How does a table become LaTeX that a default document compiles, in one column of text and whatever a name contains?

Default: pdfTeX, the encoding OT1 and a `\textwidth` of 345 pt; `\usepackage{booktabs}` is all that is asked.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from ablation_suite.reports.tables import Table

TEXT_WIDTH = 344.0
"""Points of one column of `article`, and one to spare."""
NARROW_WIDTH = 218.0
r"""The same of an article of two columns: 229 pt in `article`, 252 in IEEE's class, 219 in that of the ACL."""
_GAP = 6.0  # two \tabcolsep of 3 pt
_NARROWEST_TEXT = 48.0
_LONGEST_PIECE = 8


def to_latex(table: Table, room: float = TEXT_WIDTH) -> str:
    r"""A booktabs tabular of the texts, for `\input`; columns that a text cannot hold are set below each other.

    room: points of the text's width. Columns that are not for paper (`Column.paper`) are left out; CSV has them.
    """
    columns = [
        _Column(
            heading=_plain(column.heading),
            texts=tuple(_plain(row.texts.get(column.key, "")) for row in table.rows),
            number=column.number,
            strong=tuple(column.key in row.strong for row in table.rows),
            most=room / 2,
        )
        for column in table.columns
        if column.paper
    ]
    if sum(column.natural for column in columns) + _GAP * (len(columns) - 1) <= room:
        tabulars = [
            _tabular("".join("r" if each.number else "l" for each in columns), [each.plain() for each in columns])
        ]
    else:
        tabulars = []
        for block in _blocks(columns, room):
            kinds = "".join(f"p{{{width:.1f}pt}}" for width in _stretched(block, room))
            tabulars.append(_tabular(kinds, [each.broken() for each in block]))
    body = "\n\\par\\medskip\n".join(tabulars)
    # A hyphen that TeX adds would change a name.
    return f"{{\\footnotesize\\setlength{{\\tabcolsep}}{{3pt}}\\hyphenpenalty=10000\n{body}\n\\par}}\n"


def latex(text: str) -> str:
    """A text that LaTeX prints as it stands; what its default fonts lack is named by its code point."""
    return "".join(map(_character, _plain(text)))


@dataclass(frozen=True, kw_only=True)
class _Column:
    """The plain texts of one column, and what widths they can have."""

    heading: str
    texts: tuple[str, ...]
    number: bool
    strong: tuple[bool, ...]
    """Which cells are set in bold."""
    most: float
    """Points up to which a number is not broken."""

    @property
    def natural(self) -> float:
        """The width in which nothing is broken."""
        return _widest([self.heading, *self.texts])

    @property
    def whole(self) -> bool:
        """Whether the cells are numbers, and short as numbers are: these are never broken."""
        return self.number and _widest(self.texts) <= self.most

    @property
    def narrow(self) -> float:
        """The least width."""
        if self.whole:
            return max(_widest(self.texts), _widest(_pieces(self.heading)))
        pieces = [piece for text in (self.heading, *self.texts) for piece in _pieces(text)]
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


def _tabular(kinds: str, columns: Sequence[Sequence[str]]) -> str:
    heading, *rows = (" & ".join(row) + " \\tabularnewline" for row in zip(*columns, strict=True))
    lines = [
        f"\\begin{{tabular}}{{@{{}}{kinds}@{{}}}}",
        "\\toprule",
        heading,
        "\\midrule",
        # An empty group keeps a cell that starts with a bracket from being read as an optional argument.
        *("{}" + row for row in rows),
        "\\bottomrule",
        "\\end{tabular}",
    ]
    return "\n".join(lines)


def _blocks(columns: Sequence[_Column], room: float) -> list[list[_Column]]:
    """The columns by blocks that fit the text; each block repeats the first column, which says what a row is."""
    blocks = [[columns[0]]]
    for column in columns[1:]:
        if sum(each.narrow + _GAP for each in blocks[-1]) + column.narrow > room and len(blocks[-1]) > 1:
            blocks.append([columns[0]])
        blocks[-1].append(column)
    return blocks


def _stretched(block: Sequence[_Column], room: float) -> list[float]:
    """The widths of a block: the room that is left goes to the columns that want it, in proportion."""
    spare = room - _GAP * (len(block) - 1) - sum(each.narrow for each in block)
    wanted = [max(0.0, each.natural - each.narrow) for each in block]
    share = min(1.0, max(0.0, spare) / (sum(wanted) or 1.0))
    return [each.narrow + share * more for each, more in zip(block, wanted, strict=True)]


def _breakable(text: str) -> str:
    """The text with places at which TeX may break a long word, dearer than a space but not so dear as to add up."""
    *pieces, last = ["".join(map(_character, piece)) for piece in _pieces(text)] or [""]
    return "".join(piece if piece.endswith(" ") else piece + r"\penalty500 " for piece in pieces) + last


def _pieces(text: str) -> list[str]:
    """The text in parts that may each stand on a line: words with the mark behind them, long ones in parts."""
    return re.findall(rf"[^\W_]{{1,{_LONGEST_PIECE}}}[^\w\s]?\s*|.\s*", text)


def _plain(text: str) -> str:
    """The text in one line, in which every character is one that `_character` knows."""
    composed = unicodedata.normalize("NFC", " ".join(re.sub(r"[\x00-\x1f\x7f]", " ", text).split()))
    return "".join(each if _known(each) else f"[U+{ord(each):04X}]" for each in composed)


def _known(character: str) -> bool:
    return character.isascii() or character in _LATEX or bool(_accented(character) or _greek(character))


def _character(character: str) -> str:
    if character in _LATEX:
        return _LATEX[character]
    return character if character.isascii() else _accented(character) or _greek(character)


def _accented(character: str) -> str:
    """A Latin letter with one accent by its command, which every font encoding has; else nothing."""
    base, *marks = list(unicodedata.normalize("NFD", character))
    if len(marks) == 1 and marks[0] in _ACCENTS and base.isascii() and base.isalpha():
        return f"{_ACCENTS[marks[0]]}{{{base}}}"
    return ""


def _greek(character: str) -> str:
    """A Greek letter of mathematics; else nothing."""
    found = re.fullmatch(r"GREEK (SMALL|CAPITAL) LETTER (\w+)", unicodedata.name(character, ""))
    name = found[2].lower().replace("lamda", "lambda") if found else ""
    if found and found[1] == "CAPITAL":
        return f"$\\{name.capitalize()}$" if name in _GREEK_CAPITALS else ""
    return f"$\\{name}$" if name in _GREEK else ""


_GREEK = frozenset(
    [
        "alpha",
        "beta",
        "gamma",
        "delta",
        "epsilon",
        "zeta",
        "eta",
        "theta",
        "iota",
        "kappa",
        "lambda",
        "mu",
        "nu",
        "xi",
        "pi",
        "rho",
        "sigma",
        "tau",
        "upsilon",
        "phi",
        "chi",
        "psi",
        "omega",
    ]
)
_GREEK_CAPITALS = frozenset(
    ["gamma", "delta", "theta", "lambda", "xi", "pi", "sigma", "upsilon", "phi", "psi", "omega"]
)
_ACCENTS = {
    "\u0300": r"\`",
    "\u0301": r"\'",
    "\u0302": r"\^",
    "\u0303": r"\~",
    "\u0304": r"\=",
    "\u0306": r"\u",
    "\u0307": r"\.",
    "\u0308": r"\"",
    "\u030a": r"\r",
    "\u030b": r"\H",
    "\u030c": r"\v",
    "\u0327": r"\c",
}
_LATEX = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "#": r"\#",
    "%": r"\%",
    "_": r"\_",
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    # OT1 has no straight quote but in typewriter, and neither quote nor apostrophe nor hyphen may form a ligature.
    '"': r"{\ttfamily\char34}",
    "'": r"{\ttfamily\char13}",
    "`": r"{\ttfamily\char18}",
    "-": r"-{}",
    "[": "{[}",
    "]": "{]}",
    "−": "$-$",
    "–": "--",
    "—": "---",
    "±": r"$\pm$",
    "×": r"$\times$",
    "≈": r"$\approx$",
    "→": r"$\to$",
    "·": r"$\cdot$",
    "…": r"\dots{}",
    "“": "``",
    "”": "''",
    "‘": "`",
    "’": "'",
    "ß": r"\ss{}",
    "æ": r"\ae{}",
    "Æ": r"\AE{}",
    "œ": r"\oe{}",
    "Œ": r"\OE{}",
    "ø": r"\o{}",
    "Ø": r"\O{}",
    "ł": r"\l{}",
    "Ł": r"\L{}",
    "ı": r"\i{}",
    "µ": r"$\mu$",
}


def _width(text: str) -> float:
    r"""A width in points at \footnotesize that Computer Modern does not exceed."""
    return sum(map(_width_of, text))


def _widest(texts: Sequence[str]) -> float:
    return max(map(_width, texts), default=0.0)


def _width_of(character: str) -> float:
    if character in "MWmw%#@&+=<>−±×≈→—…ŒÆ":
        return 8.8
    if character.isupper():
        return 6.7
    return 3.4 if character in "iljtfrI.,:;'`!|()[]- " else 4.8

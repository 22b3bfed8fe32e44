r"""Which characters does LaTeX print with its default fonts, how are they written, and how wide are they?"""

from __future__ import annotations

import re
import unicodedata


def latex(text: str) -> str:
    """A text that LaTeX prints as it stands; what its default fonts lack is named by its code point."""
    return unguarded("".join(map(as_latex, one_line(text))))


def unguarded(text: str) -> str:
    """LaTeX without the guards of hyphens that no other hyphen follows, so that people can read and edit it."""
    return re.sub(r"-\{\}(?!-)", "-", text)


def one_line(text: str) -> str:
    """The text in one line, in which every character is one that `as_latex` knows."""
    composed = unicodedata.normalize("NFC", " ".join(re.sub(r"[\x00-\x1f\x7f]", " ", text).split()))
    return "".join(each if _known(each) else f"[U+{ord(each):04X}]" for each in composed)


def _known(character: str) -> bool:
    return character.isascii() or character in _LATEX or bool(_accented(character) or _greek(character))


def as_latex(character: str) -> str:
    """One character of a text of `one_line`."""
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


_GREEK_CAPITALS = ["gamma", "delta", "theta", "lambda", "xi", "pi", "sigma", "upsilon", "phi", "psi", "omega"]
_GREEK = [
    *_GREEK_CAPITALS,
    *("alpha", "beta", "epsilon", "zeta", "eta", "iota", "kappa", "mu", "nu", "rho", "tau", "chi"),
]
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


def width(text: str) -> float:
    r"""A width in points at \footnotesize that Computer Modern does not exceed."""
    return sum(map(_WIDTHS.__getitem__, text))


class _Widths(dict[str, float]):
    """The width of each character, found when it is first asked for."""

    def __missing__(self, character: str) -> float:
        if character in "MWmw%#@&+=<>−±×≈→—…ŒÆ":
            found = 8.8
        elif character.isupper():
            found = 6.7
        else:
            found = 3.4 if character in "iljtfrI.,:;'`!|()[]- " else 4.8
        self[character] = found
        return found


_WIDTHS = _Widths()

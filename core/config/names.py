"""Which names do all their readers take: file systems, terminals, W&B? The others are refused, or mapped, up front."""

from __future__ import annotations

import re
import unicodedata

from ablation_suite.core.runs.files import sha256

LONGEST = 120
"""Bytes: files of 255 hold two of them, as the study of an arm does."""

_DEVICES = re.compile(r"(?i)(con|prn|aux|nul|com[0-9]|lpt[0-9])(\..*)?")
_PROJECT_TABOO = "/\\#?%:"
_BIDI = "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"


def name_fault(name: str) -> str:
    """Why a name of an ablation, an arm or a sweep cannot be used, or nothing; it names folders and W&B groups."""
    if not name.strip():
        return "is empty"
    if control_character(name):
        return f"holds {control_character(name)}"
    if len(name.encode()) > LONGEST:
        return f"has {len(name.encode())} bytes of UTF-8, {LONGEST} are the most"
    if re.search(r"[/\\]", name):
        return "holds a slash"
    if re.match(r"[-.\s]", name):
        return "begins with a dash, a dot or a space"
    if re.search(r"[.\s]$", name):
        return "ends with a dot or a space"
    return "is the name of a device on Windows" if _DEVICES.fullmatch(name) else ""


def project_fault(name: str) -> str:
    """Why a name of a W&B project cannot be used, or nothing."""
    if found := [each for each in _PROJECT_TABOO if each in name]:
        return f"holds {' '.join(found)}, and a W&B project takes none of {' '.join(_PROJECT_TABOO)}"
    return name_fault(name)


def control_character(name: str) -> str:
    """The first character that is a control or turns the direction of writing, by its number, or nothing."""
    kinds = ("Cc", "Cs", "Zl", "Zp")
    found = [each for each in name if unicodedata.category(each) in kinds or each in _BIDI]
    return f"the control character U+{ord(found[0]):04X}" if found else ""


def fitted(text: str) -> str:
    """A text that was made from levels as a usable name: slashes become dashes, and a long one ends in its digest."""
    name = "".join("-" if each in "/\\" or control_character(each) else each for each in text)
    if len(name.encode()) <= LONGEST:
        return name
    return name.encode()[: LONGEST - 9].decode(errors="ignore") + "~" + _digest(text)


def artifact_name(text: str) -> str:
    """A name as W&B takes it for artifacts and ids of runs; what it does not take becomes a dash, told apart by digest.

    Letters, digits, dash, underscore and dot, at most 128 characters.
    """
    name = re.sub(r"[^A-Za-z0-9_.-]+", "-", text)
    return name if name == text and len(name) <= LONGEST else f"{name[: LONGEST - 9]}-{_digest(text)}"


def _digest(text: str) -> str:
    return sha256(text.encode(errors="replace"))[:8]

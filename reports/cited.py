"""How is a text with citations written? As strings and `Cite`s, which Markdown and LaTeX write in their own ways."""

from __future__ import annotations

from collections.abc import Sequence

from ablation_suite.reports.latex_text import latex
from ablation_suite.reports.references import bibtex
from ablation_suite.reports.writers import markdown


class Cite(str):
    """The key of a publication."""


Text = list[str | Cite]


def joined(sentences: Sequence[Text]) -> Text:
    """One text, with a space between sentences."""
    found: Text = []
    for sentence in filter(None, sentences):
        found += [" ", *sentence] if found else sentence
    return found


def cited_files(text: Text) -> dict[str, str]:
    """File name -> content: a paragraph as Markdown (with the citations of pandoc) and as LaTeX, and its sources."""
    keys = [part for part in text if isinstance(part, Cite)]
    in_markdown = "".join(f" [@{part}]" if isinstance(part, Cite) else _markdown(part) for part in text)
    in_latex = "".join(f"~\\cite{{{part}}}" if isinstance(part, Cite) else _latex(part) for part in text)
    return {"method.md": f"{in_markdown}\n", "method.tex": f"{in_latex}\n", "references.bib": bibtex(keys)}


def _markdown(text: str) -> str:
    return _with_ends(text, markdown(text))


def _latex(text: str) -> str:
    return _with_ends(text, latex(text))


def _with_ends(text: str, written: str) -> str:
    """What was written of a text, with the spaces at its ends, which stand beside a citation."""
    return f"{' ' * text.startswith(' ')}{written}{' ' * (text.endswith(' ') and bool(text.strip()))}"

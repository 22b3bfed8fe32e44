"""What does a reader see? One self-contained page per ablation and an index of them, as HTML and as Markdown."""

from __future__ import annotations

import base64
import json
import unicodedata
from bisect import bisect_right
from collections.abc import Callable, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from ablation_suite.reports.analysis import Analysis
from ablation_suite.reports.blocks import Blocks
from ablation_suite.reports.blocks_page import blocks_context
from ablation_suite.reports.cost_drawing import COST_HEIGHT
from ablation_suite.reports.glance import Glance
from ablation_suite.reports.plots import captions
from ablation_suite.reports.report_page import SIGNS, page_context
from ablation_suite.reports.writers import markdown, to_markdown

Images = Callable[[str, str], bytes | None]
"""(split, name of the image) -> a small PNG or JPEG file, or None."""


def report_html(analysis: Analysis, images: Images | None = None, *, has_index: bool = False) -> str:
    """The page of one ablation: no network, no other file; without a script all but reading values and sorting.

    has_index: whether an index of several lies above it.
    """
    context = page_context(analysis)
    return _ENVIRONMENT.get_template("report.html").render(
        **context, has_index=has_index, data=_script_json(context["reading"]), thumbnails=_thumbnails(analysis, images)
    )


def report_markdown(analysis: Analysis) -> str:
    """The same report as text for a repository or a message; figures lie beside it."""
    return rendered(
        "report.md",
        analysis=analysis,
        design=analysis.design,
        tables=analysis.tables,
        captions=captions(analysis),
    )


def index_html(analyses: Sequence[Analysis], seen: Glance) -> str:
    """The first page of several reports: each question with its answer."""
    return rendered("index.html", analyses=analyses, glance=seen, cost_height=COST_HEIGHT, signs=SIGNS)


def index_markdown(analyses: Sequence[Analysis], seen: Glance) -> str:
    """The index as text."""
    return rendered("index.md", analyses=analyses, glance=seen)


def blocks_html(blocks: Blocks) -> str:
    """The page over the blocks of one spec."""
    return rendered("blocks.html", **blocks_context(blocks))


def rendered(template: str, **context: Any) -> str:
    """A page of another module, from a template of this folder."""
    return _ENVIRONMENT.get_template(template).render(**context)


def data_uri(content: bytes, kind: str) -> str:
    """A file as the source of an image inside a page."""
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def _thumbnails(analysis: Analysis, images: Images | None) -> dict[str, str]:
    """Name -> data URI of the images that the page names."""
    table = analysis.tables.get("disagreements")
    found = {}
    for row in table.rows if images and table else ():
        name = str(row.values["image"])
        content = images(analysis.split, name) if images else None
        if content:
            found[name] = data_uri(content, "image/jpeg" if content.startswith(b"\xff\xd8") else "image/png")
    return found


def _script_json(data: Any) -> Markup:
    """JSON that may stand inside a script element: no `<` that could end it, nothing beyond ASCII."""
    text = json.dumps(data, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return Markup(text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026"))


def _shortened(text: str, most: int) -> str:
    """At most so many characters of a Latin script; those of East Asia are twice as wide."""
    ends = list(accumulate(1 + (unicodedata.east_asian_width(each) in "WF") for each in text))
    return text if not ends or ends[-1] <= most else f"{text[: bisect_right(ends, most - 1)]}…"


def _included(name: str) -> Markup:
    return Markup((_TEMPLATES / name).read_text(encoding="utf-8"))


_TEMPLATES = Path(__file__).parent / "templates"
_ENVIRONMENT = Environment(
    loader=FileSystemLoader(_TEMPLATES),
    autoescape=lambda name: name is None or name.endswith(".html"),
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    keep_trailing_newline=True,
)
_ENVIRONMENT.filters |= {"markdown": markdown, "pipes": to_markdown, "shortened": _shortened}
_ENVIRONMENT.globals["included"] = _included

"""What does a reader see? One self-contained page per ablation and an index of them, as HTML and as Markdown."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from ablation_suite.reports.analysis import Analysis
from ablation_suite.reports.blocks import Blocks
from ablation_suite.reports.palette import Ink, inks, telling
from ablation_suite.reports.quantities import SPLITS
from ablation_suite.reports.series import MEASURES
from ablation_suite.reports.wording import families
from ablation_suite.reports.writers import markdown, to_markdown

Images = Callable[[str, str], bytes | None]
"""(split, name of the image) -> a small PNG or JPEG file, or None."""

_MAX_MATRIX_CLASSES = 30


def report_html(analysis: Analysis, figures: Mapping[str, bytes], images: Images | None = None) -> str:
    """The page of one ablation: no network, no other file; `figures` serve readers without JavaScript."""
    stills = {name.removesuffix(".svg"): content for name, content in figures.items() if name.endswith(".svg")}
    return _ENVIRONMENT.get_template("report.html").render(
        **_common(analysis),
        inks=_inks(analysis),
        data=_script_json(_chart_data(analysis)),
        still={name: data_uri(content, "image/svg+xml") for name, content in stills.items()},
        thumbnails=_thumbnails(analysis, images),
        tint=_tint,
    )


def report_markdown(analysis: Analysis) -> str:
    """The same report as text for a repository or a message; figures lie beside it."""
    return _ENVIRONMENT.get_template("report.md").render(**_common(analysis))


def index_html(analyses: Sequence[Analysis]) -> str:
    """The first page of several reports: each question with its answer."""
    return _ENVIRONMENT.get_template("index.html").render(analyses=analyses, families=_families(analyses))


def index_markdown(analyses: Sequence[Analysis]) -> str:
    """The index as text."""
    return _ENVIRONMENT.get_template("index.md").render(analyses=analyses, families=_families(analyses))


def blocks_html(blocks: Blocks, figures: Mapping[str, bytes]) -> str:
    """The page over the blocks of one spec."""
    forest = data_uri(figures["forest.svg"], "image/svg+xml") if "forest.svg" in figures else ""
    return rendered("blocks.html", blocks=blocks, forest=forest)


def rendered(template: str, **context: Any) -> str:
    """A page of another module, from a template of this folder."""
    return _ENVIRONMENT.get_template(template).render(**context)


def data_uri(content: bytes, kind: str) -> str:
    """A file as the source of an image inside a page."""
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def _families(analyses: Sequence[Analysis]) -> str:
    compared = [
        {row.values["arm"] for row in each.tables["answer"].rows if row.values["p"] is not None} for each in analyses
    ]
    return families([len(arms - {each.design.control}) for arms, each in zip(compared, analyses, strict=True)])


def _common(analysis: Analysis) -> dict[str, Any]:
    return {
        "analysis": analysis,
        "design": analysis.design,
        "tables": analysis.tables,
        "arms": {arm.name: arm for arm in analysis.design.arms},
        "split": SPLITS[analysis.split],
    }


def _inks(analysis: Analysis) -> dict[str, Ink]:
    return inks([arm.name for arm in analysis.design.arms], analysis.design.baseline)


def _chart_data(analysis: Analysis) -> dict[str, Any]:
    """What the page's script draws from."""
    answer = [row.values | {"text": row.texts["difference"]} for row in analysis.tables["answer"].rows]
    costs = {row.values["arm"]: row.values for row in analysis.tables["cost"].rows}
    arms, found, confusions = [arm.name for arm in analysis.design.arms], _inks(analysis), analysis.confusions
    return {
        "arms": arms,
        "shown": telling(analysis.differences(), analysis.design.baseline),
        "dashes": [" ".join(map(str, found[arm].dash)) for arm in arms],
        "margin": analysis.design.margin,
        "score": f"{SPLITS[analysis.split].capitalize()} {analysis.metric} (%)",
        "answer": answer,
        "cost": [costs[row["arm"]] for row in answer],
        "series": [{"measure": key, "title": MEASURES[key], "lines": lines} for key, lines in analysis.series.items()],
        "confusions": confusions if confusions and len(confusions["classes"]) <= _MAX_MATRIX_CLASSES else None,
    }


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


def _tint(values: Mapping[str, Any], key: str, largest: float = 12.0) -> float:
    """The strength, in [0, 1], with which a cell is coloured for a difference in pp: none where it may be zero."""
    value, low, high = (values.get(key.replace("difference_pp", end)) for end in ("difference_pp", "low_pp", "high_pp"))
    is_decided = low is not None and high is not None and low * high > 0
    return round(min(1.0, abs(value) / largest), 2) if value is not None and is_decided else 0.0


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
_ENVIRONMENT.filters |= {"markdown": markdown, "pipes": to_markdown}
_ENVIRONMENT.globals["included"] = _included

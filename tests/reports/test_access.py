"""Can everybody read the pages, and print them? Judged by axe-core and by Chromium."""

from __future__ import annotations

import html
import json
import os
import re
import subprocess
from pathlib import Path

import pytest

from ablation_suite.reports.blocks import over_all_blocks
from ablation_suite.reports.design import design_of
from ablation_suite.reports.page import blocks_html, rendered
from ablation_suite.reports.reader import Reader
from ablation_suite.reports.sweep_page import sweep_context
from tests.reports.make_runs import TRUTHS, make_store
from tests.reports.test_page import CHROMIUM, browse, in_chromium, index_of, page_of
from tests.sweeps.test_figures import SIX
from tests.sweeps.test_objectives import TWO
from tests.sweeps.test_report import make_analysis

AXE = Path(os.environ.get("AXE_CORE", Path(__file__).parents[2] / "node_modules" / "axe-core" / "axe.min.js"))
LOOKS = [(width, scheme) for width in (1300, 400) for scheme in ("light", "dark")]
PALE = (
    '<html lang="en"><title>x</title><main><h1>x</h1><p style="color:#bbb;background:#fff">pale</p><img src="data:,">'
)
THREE = {name: TRUTHS[name] for name in ("baseline", "wide", "no-encoding")}

in_axe = pytest.mark.skipif(not AXE.is_file(), reason="needs axe-core: npm install axe-core, or AXE_CORE=axe.min.js")


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """Name -> page: an ablation of six arms, the index of it and another, two blocks, two searches."""
    analysis, report = page_of(tmp_path_factory.mktemp("six"), margin=1.0)
    other, _ = page_of(tmp_path_factory.mktemp("three"), THREE)
    search = make_analysis(tmp_path_factory.mktemp("search"), space=SIX, trials=12)
    limits = {"val/loss": {"at_most": 0.9}}
    front = make_analysis(tmp_path_factory.mktemp("front"), metrics=TWO, constraints=limits, trials=12)
    return {
        "report": report,
        "index": index_of([analysis, other]),
        "blocks": blocks_html(over_all_blocks(family_of(tmp_path_factory.mktemp("blocks")))),
        "sweep": rendered("sweep.html", **sweep_context(search)),
        "front": rendered("sweep.html", **sweep_context(front)),
    }


def family_of(store):
    """The results of two blocks."""
    made = [
        make_store(store, THREE, ablation=f"q-{block}", block=block, family="q", seeds=3, epochs=1, num_images=90)
        for block in ("8 px", "16 px")
    ]
    return [Reader(store).results(design_of(plan)) for plan in made]


def findings(folder, pages):
    """(page, width, scheme) -> what axe-core finds, each as `rule: element`; asserts that the scheme was in use."""
    frames = "".join(
        f'<iframe title="{name} {width} {scheme}" style="width:{width}px;height:3000px;border:0;color-scheme:{scheme}" '
        f'srcdoc="{html.escape(text)}"></iframe>'
        for name, text in pages.items()
        for width, scheme in LOOKS
    )
    actions = """
      addEventListener("load", async () => {
        const found = {};
        for (const frame of document.querySelectorAll("iframe")) {
          const inside = frame.contentWindow;
          inside.document.querySelectorAll("details").forEach((each) => (each.open = true));
          const axe = inside.document.createElement("script");
          axe.textContent = document.getElementById("axe").textContent;
          inside.document.head.append(axe);
          const {violations} = await inside.axe.run(inside.document, {resultTypes: ["violations"]});
          const told = violations.flatMap((rule) => rule.nodes.map((node) => `${rule.id}: ${node.html.slice(0, 150)}`));
          if (inside.matchMedia("(prefers-color-scheme: dark)").matches !== frame.title.endsWith("dark"))
            told.push("the colour scheme was not in use");
          found[frame.title] = told;
        }
        const note = document.createElement("pre");
        note.id = "result";
        note.textContent = JSON.stringify(found);
        document.body.append(note);
      });
    """
    axe = AXE.read_text(encoding="utf-8").replace("</script", "<\\/script")
    around = f'<html lang="en"><body>{frames}<script type="text/plain" id="axe">{axe}</script></body></html>'
    dom, _ = browse(folder, around, actions, width=1400, extra=("--virtual-time-budget=120000",))
    return json.loads(html.unescape(re.search(r'<pre id="result">(.*?)</pre>', dom, re.DOTALL).group(1)))


@in_axe
@in_chromium
@pytest.mark.slow
def test_axe_finds_nothing_on_the_pages(pages, tmp_path):
    """At 1300 and 400 px, light and dark; on a page with pale text and a nameless image it finds both."""
    found = findings(tmp_path, {**pages, "pale": PALE})
    pale = {name: found.pop(name) for name in list(found) if name.startswith("pale")}
    assert len(found) == len(pages) * len(LOOKS)
    assert {name: told for name, told in found.items() if told} == {}
    for told in pale.values():
        assert {each.partition(":")[0] for each in told} >= {"color-contrast", "image-alt"}


def num_pages(folder, text):
    """On how many sheets Chromium prints a page."""
    path, printed = folder / "page.html", folder / "page.pdf"
    path.write_text(text)
    command = [
        CHROMIUM, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
        "--no-pdf-header-footer", f"--user-data-dir={folder / 'profile'}", f"--print-to-pdf={printed}", path.as_uri(),
    ]  # fmt: skip
    subprocess.run(command, capture_output=True, check=True, timeout=120)
    return len(re.findall(rb"/Type\s*/Page\b", printed.read_bytes()))


@in_chromium
@pytest.mark.slow
def test_the_index_prints_on_one_page_and_an_ablation_of_three_arms_on_four(pages, tmp_path):
    """Ten classes, three seeds, the details open."""
    assert num_pages(tmp_path, pages["index"]) == 1
    classes = tuple(f"class {index}" for index in range(10))
    _, report = page_of(tmp_path, THREE, classes=classes, num_images=1000)
    assert 1 < num_pages(tmp_path, report) <= 4

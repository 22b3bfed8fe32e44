"""Is the page one file that works for every reader and that no name can break? Also in a real Chromium."""

from __future__ import annotations

import html
import json
import os
import re
import subprocess
from html.parser import HTMLParser

import pytest

from ablation_suite.reports.analysis import analyse
from ablation_suite.reports.design import design_of
from ablation_suite.reports.glance import glance
from ablation_suite.reports.page import index_html, report_html, report_markdown
from ablation_suite.reports.reader import Reader
from tests.reports.make_runs import TRUTHS, Truth, make_store

CHROMIUM = "/usr/bin/chromium"
HOSTILE = (
    "<img src=x onerror=document.title='broken'>",
    "</script><script>document.title='broken'</script>",
    "\"><svg onload=document.title='broken'>",
    "=cmd()",
    "{{ 7*7 }}",
    "_x",
    "$a$",
)
AUDIT = ({"arm": "wide", "kind": "images", "text": "sees 2.0x images <b>", "severity": "confound"},)

in_chromium = pytest.mark.skipif(not os.path.exists(CHROMIUM), reason="needs Debian's chromium")


def page_of(store, truths=TRUTHS, audit=(), images=None, **settings):
    plan = make_store(store, truths, **{"seeds": 3, "epochs": 8, "num_images": 90, **settings})
    analysis = analyse(Reader(store).results(design_of(plan)), audit)
    return analysis, report_html(analysis, images)


def index_of(analyses):
    return index_html(analyses, glance(analyses))


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    return page_of(tmp_path_factory.mktemp("runs"), audit=AUDIT, margin=1.0)


@pytest.fixture(scope="module")
def hostile(tmp_path_factory):
    truths = {name: TRUTHS["wide"] for name in ("baseline", *HOSTILE)}
    classes = tuple(f"{name}{index}" for index, name in enumerate(HOSTILE[:3]))
    settings = {"question": f"Is {HOSTILE[0]} more than {HOSTILE[1]}?", "classes": classes, "overrides": HOSTILE[:2]}
    audit = [{"arm": HOSTILE[0], "kind": "images", "text": HOSTILE[1], "severity": "confound"}]
    return page_of(tmp_path_factory.mktemp("runs"), truths, audit, **settings)


class Elements(HTMLParser):
    """Every start tag of a page with its attributes, and the texts."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.texts = [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.texts.append(data)


def test_the_page_needs_no_other_file(page):
    """Every source and style is inline; nothing is fetched from anywhere."""
    _, text = page
    for tag, attributes in Elements(text).tags:
        for name in ("src", "href", "srcset", "data"):
            value = attributes.get(name)
            assert value is None or value.startswith(("data:", "#")), (tag, value)
    style_and_script = "".join(re.findall(r"<(?:style|script)[^>]*>(.*?)</", text, re.DOTALL))
    assert "@import" not in style_and_script
    assert "url(" not in style_and_script
    assert "fetch(" not in style_and_script


def test_the_page_says_everything_in_its_place(page):
    """Question, answer, confounds, tables, run ids and commands."""
    analysis, text = page
    shown = " ".join(Elements(text).texts)
    assert analysis.design.question in shown
    assert analysis.answer in " ".join(shown.split())
    assert "sees 2.0x images <b>" in shown
    assert "Besides its factor, “wide” differs in images" in analysis.answer
    for _, _, run_id in analysis.design.cells:
        assert run_id in shown
    assert "ablate run specs/contrastive.yaml --arm wide --seed 2" in shown


def test_hostile_names_make_no_elements(hostile):
    """All names arrive as text; the page has the elements of our templates and no others."""
    _, text = hostile
    elements = Elements(text)
    assert not [tag for tag, attributes in elements.tags if any(name.startswith("on") for name in attributes)]
    assert [tag for tag, _ in elements.tags].count("script") == 2
    assert "{{ 7*7 }}" in " ".join(elements.texts)


def test_hostile_names_pass_through_the_embedded_data(hostile):
    """What the script reads back are the names themselves."""
    analysis, text = hostile
    data = re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.DOTALL).group(1)
    assert [arm for arm, _ in json.loads(data)["val/accuracy"][0][2]] == [arm.name for arm in analysis.design.arms]
    assert "<" not in data


def test_hostile_names_stay_text_in_markdown(hostile):
    """Outside of code, no angle bracket is left that could open a tag."""
    analysis, _ = hostile
    text = re.sub(r"`[^`]*`|<code>.*?</code>", "", report_markdown(analysis))
    assert "<" not in text


def test_no_cell_is_tinted_and_the_classes_that_differ_are_counted(tmp_path):
    """The page says how many of its intervals by class exclude zero, as the table has them; with one seed none does."""
    for seeds in (1, 4):
        truths = {"baseline": TRUTHS["baseline"], "worse": Truth(delta={"a": 1}, effect=-0.25)}
        analysis, text = page_of(tmp_path / str(seeds), truths, seeds=seeds, num_images=400)
        rows = [row.values for row in analysis.tables["classes"].rows]
        ends = [(row.get("arm: worse: low_pp"), row.get("arm: worse: high_pp")) for row in rows]
        decided = sum(low is not None and low * high > 0 for low, high in ends)
        told = re.search(rf"{decided or 'None'} of these {len(rows)} intervals excludes? zero", text)
        assert bool(told) == ("no cell is tinted" in text) == (seeds > 1)
        assert bool(decided) == (seeds > 1)


def test_a_large_ablation_stays_under_three_megabytes(tmp_path):
    """6 arms x 5 seeds x 50 epochs, 1,000 images."""
    _, text = page_of(tmp_path, seeds=5, epochs=50, num_images=1000)
    assert len(text.encode()) < 3_000_000


def test_thumbnails_come_from_the_caller(tmp_path):
    """Where somebody can give images, those that the arms disagree on are shown, and only those."""
    asked = []

    def images(split, name):
        asked.append((split, name))
        return b"\xff\xd8jpeg"

    analysis, text = page_of(tmp_path, images=images)
    named = [("test", str(row.values["image"])) for row in analysis.tables["disagreements"].rows]
    assert asked == named
    assert text.count('<img src="data:image/jpeg;base64,') == len(named)


def test_the_index_links_to_every_report(page, hostile):
    """Names become safe addresses."""
    links = [attributes["href"] for tag, attributes in Elements(index_of([page[0], hostile[0]])).tags if tag == "a"]
    assert links == ["contrastive/report.html", "contrastive/report.html"]


def test_the_index_shows_every_arm_in_one_plot_and_tells_shared_runs(page, hostile):
    """One interval per arm that is no baseline, each with its seeds; runs in two ablations are counted."""
    text = index_of([page[0], page[0]])
    assert text.count('class="iv"') >= 2 * (len(TRUTHS) - 1)
    assert text.count('href="#st"') == 2 * 3 * (len(TRUTHS) - 1)
    assert "contrastive and contrastive share 18 runs" in text
    assert "runs: if these were lucky" not in index_of([page[0]])
    undecided = [row for row in page[0].tables["answer"].rows if row.values["verdict"] == "undecided"]
    if len(undecided) == len(TRUTHS) - 1:
        assert "2 questions, none decided" in text


def test_the_index_says_how_many_families_it_holds(page, hostile):
    """Two ablations, each adjusted by itself: 1 - 0.95^2 for one false call or more where nothing differs."""
    compared = [len(each.design.contenders) for each in (page[0], hostile[0])]
    assert f"{sum(compared)} comparisons in 2 ablations" in index_of([page[0], hostile[0]])
    assert "up to 10 % of such reports" in index_of([page[0], hostile[0]])
    assert "comparisons in" not in index_of([page[0]])


def test_the_sides_of_zero_are_those_of_the_metric(tmp_path, page):
    """Where a lower value is better, better lies on the left; beside another metric no side is named."""
    brier = page_of(tmp_path, metric="test/brier")
    for text in (brier[1], index_of([brier[0]])):
        assert "better ← 0 → worse" in text
        assert "worse ← 0 → better" not in text
    assert "worse ← 0 → better" in index_of([page[0]])
    assert "← 0 →" not in index_of([page[0], brier[0]])


def test_what_could_have_been_found_is_said_to_be_found_four_times_in_five(page):
    """It is the difference of 80 % power, so that a little less does not go unseen."""
    for text in (page[1], index_of([page[0]])):
        assert "four times in five" in text
        assert "gone unseen" not in text


def browse(folder, text, actions="", *, width=1280, extra=()):
    """The page in headless Chromium: (its DOM after `actions`, a script; the lines of its console)."""
    path = folder / "page.html"
    path.write_text(text.replace("</body>", f"<script>{actions}</script></body>"))
    command = [
        CHROMIUM, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--dump-dom",
        "--enable-logging=stderr", f"--user-data-dir={folder / 'profile'}", f"--window-size={width},1000",
        "--virtual-time-budget=2000", *extra, path.as_uri(),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout, [line for line in done.stderr.splitlines() if "CONSOLE" in line]


@in_chromium
@pytest.mark.slow
def test_chromium_draws_the_page_without_a_complaint(page, tmp_path):
    """A row with its interval per arm, panels by epoch, matrices; the console stays empty."""
    analysis, text = page
    dom, console = browse(tmp_path, text)
    assert console == []
    assert dom.count('class="reading"') == len(analysis.series) + 1
    assert dom.count("minus baseline</figcaption>") == len(TRUTHS) - 1


@pytest.mark.fault(
    "a name that is a script", injected="<img onerror> as the name of an arm, in a real browser", promised="it is text"
)
@in_chromium
@pytest.mark.slow
def test_chromium_runs_no_name(hostile, tmp_path):
    """Names that would change the title, did they run, do not; the console stays empty."""
    dom, console = browse(tmp_path, hostile[1])
    assert console == []
    title = re.search(r"<title>(.*?)</title>", dom, re.DOTALL).group(1)
    assert title.startswith("contrastive: Is &lt;img")


@in_chromium
@pytest.mark.slow
def test_arms_are_toggled_values_read_and_tables_sorted_by_keyboard(page, tmp_path):
    """Focus, arrows and clicks do what they promise, as seen in the document afterwards."""
    actions = """
      const result = {};
      const panel = document.querySelector("#training figure");
      const press = (key) => panel.dispatchEvent(new KeyboardEvent("keydown", {key, bubbles: true}));
      panel.focus();
      result.focused = document.activeElement === panel;
      press("End"); press("ArrowLeft");
      result.reading = panel.querySelector(".reading").textContent;
      press("Escape");
      result.closed = panel.querySelector(".reading").hidden;
      const shown = () => [...panel.querySelectorAll(".s1")].every((each) => getComputedStyle(each).display !== "none");
      result.before = shown();
      document.getElementById("t1").click();
      result.after = shown();
      const heads = [...document.querySelectorAll("#evidence thead button")];
      const head = heads.find((each) => each.textContent.startsWith("Difference"));
      const arms = () => [...document.querySelectorAll("#evidence tbody th")].map((each) => each.dataset.sort);
      head.click();
      result.falling = arms();
      head.click();
      result.rising = arms();
      result.sorted = head.parentElement.getAttribute("aria-sort");
      const note = document.createElement("pre");
      note.id = "result";
      note.textContent = JSON.stringify(result);
      document.body.append(note);
    """
    dom, console = browse(tmp_path, page[1], actions)
    assert console == []
    result = json.loads(re.search(r'<pre id="result">(.*?)</pre>', dom, re.DOTALL).group(1))
    assert result["focused"]
    assert result["reading"].startswith("Epoch 7")
    assert "wide" in result["reading"]
    assert result["closed"]
    assert result["before"]
    assert not result["after"]
    rows = [row.values for row in page[0].tables["answer"].rows]
    order = sorted((row for row in rows if row["difference_pp"] is not None), key=lambda row: row["difference_pp"])
    assert result["rising"] == [*(row["arm"] for row in order), "baseline"]
    assert result["falling"] == [*(row["arm"] for row in reversed(order)), "baseline"]
    assert result["sorted"] == "ascending"


@in_chromium
@pytest.mark.slow
def test_a_phone_has_nothing_to_push_sideways(page, tmp_path):
    """At 390 px the page is as wide as the screen; wide tables scroll inside themselves."""
    actions = "document.body.dataset.widths = `${document.documentElement.scrollWidth} ${innerWidth}`;"
    frame = '<iframe srcdoc="{}" style="width:390px;height:900px;border:0" id="phone"></iframe>'
    inner = html.escape(page[1].replace("</body>", f"<script>{actions}</script></body>"))
    report = """
      document.getElementById("phone").addEventListener("load", (event) =>
        document.body.append(event.target.contentDocument.body.dataset.widths + " end"));
    """
    # Chromium's window is never narrower than 500 px, a frame may be.
    page_with_frame = f"<!doctype html><link rel=icon href=data:,><body>{frame.format(inner)}</body>"
    dom, console = browse(tmp_path, page_with_frame, report)
    assert console == []
    content, screen = map(int, re.search(r">(\d+) (\d+) end<", dom).groups())
    assert content <= screen == 390

"""What can be typed to look at specs and runs? These verbs and their options; what they do is loaded when they run."""

from __future__ import annotations

from pathlib import Path

import click

from ablation_suite import options
from ablation_suite.reports.captions import list_of_figures

_data_root = click.option(
    "--data-root", metavar="DIR", help="Where folders that are not here are looked up (ABLATE_DATA)."
)


@click.command(short_help="Check specs and list all their faults.")
@options.specs
@click.option("--quick", is_flag=True, help="Read the specs only; take no step of any arm.")
@options.as_json
@options.folders
@options.does("look:check")
def check() -> None:
    """Check specs and list all their faults; exit status 2 if there are any.

    Specs that read well are tried: two steps of every arm on a few images, beside the baseline. An arm whose factor has
    no effect is a fault, and what moved outside a factor is told.
    """


@click.command(short_help="Show the runs that specs need: finished, failed, missing.")
@options.specs
@options.tuned
@click.option("--probe", is_flag=True, help="Time a few steps of every arm and forecast the grid.")
@click.option(
    "--workers",
    type=click.IntRange(min=1),
    multiple=True,
    metavar="N",
    help="With --probe: the same on N GPUs such as that of this machine, or N workers; may be given again.",
)
@options.as_json
@options.training
@options.does("look:plan")
def plan() -> None:
    """Show the runs that specs need: arm x seed, finished, failed or missing, and what each arm changes."""


@click.command(short_help="Show every setting in which an arm differs from the baseline.")
@click.argument("spec")
@click.argument("arm")
@options.as_json
@options.does("look:diff")
def diff() -> None:
    """Show every setting in which ARM of SPEC differs from the baseline."""


@click.command(short_help="Show what else moved when an arm changed its factor.")
@options.specs
@click.option("--classes", type=int, help="Classes, where no run tells them [100].")
@options.as_json
@options.folders
@options.does("look:audit")
def audit() -> None:
    """Show what else moved when an arm changed its factor; needs neither data nor runs, and uses runs that exist."""


@click.command(short_help="Show the runs of the results folder.")
@click.argument("words", nargs=-1, metavar="[SPEC...]")
@options.tuned
@click.option("--watch", "watching", is_flag=True, help="Draw the grid again every two seconds.")
@options.as_json
@options.folders
@options.does("look:status")
def status() -> None:
    """Show the runs of the results folder, or of specs: state, place in the queue, epoch, best, images/s, time left."""


@click.command(short_help="Show one run: its settings, numbers, provenance.")
@click.argument("run")
@options.as_json
@options.folders
@options.does("look:show")
def show() -> None:
    """Show one run, named by the beginning of its id: settings, numbers, provenance, how to make it again."""


@click.command(short_help="List every choice, setting and default.")
@click.argument("family", required=False)
@options.as_json
@options.does("menu:menu")
def menu() -> None:
    """List every choice, setting and default of FAMILY (data, augment, model.backbone, loss, sweep, ...) or of all.

    FAMILY own is the page of your own parts: what is called in each family, with which shapes, and what is seeded.
    """


@click.command(short_help="Write tables, curves and pages from finished runs.")
@click.argument("words", nargs=-1, metavar="[SPEC... [path=value ...]]")
@options.tuned
@click.option("-o", "--out", metavar="DIR", help="Where to write [RESULTS/report].")
@options.layouts
@click.option("--publish", is_flag=True, help="Log tables and figures to W&B, and make a W&B Report.")
@click.option("--check", "checked", metavar="DIR", help="Compute every number of written reports again.")
@options.folders
@options.does("report:report")
def report() -> None:
    """Write tables, curves and pages from finished runs; nothing is trained.

    Tables that --table lays out are written as Markdown, CSV and LaTeX, of one column of text and of two. With --check:
    exit status 1 where a report has drifted from its runs, or where these are not alike; without it 1 where no run is
    finished yet.
    """


@click.command(short_help="Draw one figure of a report again, for a paper.", epilog="\b\n" + list_of_figures())
@click.argument("words", nargs=-1, metavar="[list | FIGURE SPEC [path=value ...]]")
@click.option("--style", metavar="STYLE", help="A style sheet of matplotlib: an .mplstyle file, or the name of one.")
@click.option("--size", "size_text", metavar="W,H", help="Inches, such as 3.3,2 [as the report draws it].")
@click.option("-o", "--out", metavar="FILE", help="As .pdf, .svg, .png, .eps, .jpg or .tif [RESULTS/figures/...pdf].")
@options.tuned
@options.storage
@options.folders
@options.does("figure:figure")
def figure() -> None:
    """Draw one figure of a report again, with the same inks, marks and digits; nothing is trained."""


@click.command(short_help="Compare runs of no common spec.")
@click.argument("runs", nargs=-1, required=True, metavar="RUN RUN...")
@options.as_json
@options.folders
@options.does("report:compare")
def compare() -> None:
    """Compare finished runs with the first: settings that differ, and the paired difference on the same images."""


@click.command(short_help="Classify images with finished runs.")
@click.argument("words", nargs=-1, required=True, metavar="RUN... IMAGES...")
@click.option(
    "-o",
    "--output",
    default="prediction.csv",
    show_default=True,
    metavar="FILE",
    help="The table to write; - is standard output.",
)
@click.option("--proba", is_flag=True, help="Add a column proba_CLASS for each class.")
@click.option("--exact-names", is_flag=True, help="Write names that a spreadsheet takes for formulas as they are.")
@click.option("--results", metavar="DIR", help="Where the runs lie [ABLATE_RESULTS, else ./results].")
@click.option("--device", help="auto, cpu, cuda, cuda:1, ...")
@options.does("predict:predict")
def predict() -> None:
    """Classify IMAGES with finished runs; several RUNs average their probabilities.

    RUN is the beginning of a run's id or its folder, IMAGES a folder (with all below it) or single files. The table has
    the columns image_name (no extension) and pred_label (the class's own name). A name that a spreadsheet would take
    for a formula stands behind a ', unless --exact-names.
    """


@click.command(short_help="Publish finished runs to W&B.")
@click.argument("targets", nargs=-1, metavar="[SPEC|SWEEP|RUN... [path=value ...]]")
@click.option("--tracker", default="online", help="online (W&B), tensorboard or mlflow.")
@click.option("--artifacts", is_flag=True, help="Also publish best weights and tables of predictions (W&B).")
@click.option(
    "--log-images",
    "num_images",
    type=click.IntRange(1),
    metavar="N",
    help="Also show classes, confusions and the N worst validation images (W&B).",
)
@options.folders
@options.does("sync:sync")
def sync() -> None:
    """Publish runs to W&B; a second call adds nothing. Without targets: all runs.

    SPEC and overrides mean the runs of `ablate run SPEC path=value`, SWEEP the trials of a search, by its file or its
    name, RUN the beginning of a run id. Exit status 1: a run is not here, or did not arrive.

    W&B's own metrics of the machine are off: WANDB_X_DISABLE_STATS=false, WANDB_X_DISABLE_META=false turn them on for
    `ablate run`.
    """


@click.group(short_help="Check data sets and manage the decoded cache.")
def data() -> None:
    """Check a folder of images; see to the cache of decoded images."""


@data.command(name="check")
@click.argument("folder", metavar="DIR")
@_data_root
@options.as_json
@click.option("--all", "everything", is_flag=True, help="List every finding, however many are of one kind.")
@options.does("data:check")
def data_check() -> None:
    """Say all that is wrong with the images below DIR, and what of all that lies there is passed over.

    Exit status: 0 nothing, 1 something, 2 DIR is no such folder or has no train/<class>/.
    """


@data.group()
def cache() -> None:
    """The decoded images (ABLATE_CACHE), which all runs share."""


@cache.command()
@click.argument("path", metavar="PATH")
@click.option("--size", type=click.IntRange(min=1), default=224, show_default=True, help="Height and width in pixels.")
@_data_root
@options.does("data:build")
def build() -> None:
    """Decode the folder PATH now, not when the first run needs it."""


@cache.command(name="list")
@options.as_json
@options.does("data:list_")
def list_() -> None:
    """Say what lies in the cache."""


@cache.command()
@click.argument("key", required=False)
@click.option("--all", "everything", is_flag=True, help="Remove everything.")
@options.does("data:remove")
def remove() -> None:
    """Remove the decoded images of KEY, as `list` names it."""


@click.group(short_help="Write a part of your own to begin with.")
def init() -> None:
    """Write a file to begin with."""


@init.command()
@click.argument("family")
@click.argument("file", required=False, type=click.Path(path_type=Path))
@options.does("init:part")
def part() -> None:
    """Write FILE (my_FAMILY.py) with a part of your own that runs: a backbone, a loss, an augmentation, ...

    It is there to be changed; `ablate menu own` has the protocol of every family.
    """

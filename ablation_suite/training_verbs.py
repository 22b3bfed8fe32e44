"""What can be typed to train? These verbs and their options; what they do is loaded when they run."""

from __future__ import annotations

import click

from ablation_suite import options


@click.command(short_help="Train every missing run of specs.")
@options.specs
@options.tuned
@options.arms
@options.seeds
@click.option("--report", "with_report", is_flag=True, help="Write the report when the runs are done.")
@options.layouts
@click.option("--join", is_flag=True, help="Help another driver that works in the same results folder.")
@options.as_json
@options.training
@options.does("run:run")
def run() -> None:
    """Train every missing run of specs; finished runs are never trained twice.

    Exit status 0: all done; 1: some runs failed, and the next call tries them again; 2: the input was wrong.
    """


@click.command(short_help="End the runs of specs that are under way or in a queue.")
@options.specs
@options.tuned
@options.arms
@options.seeds
@options.folders
@options.does("run:cancel")
def cancel() -> None:
    """End the unfinished runs of specs, wherever they are: in a queue, on another machine, under a driver here.

    Each saves itself within seconds; `ablate run` takes it up again from there. Finished runs stay.
    """


@click.command(short_help="Train a finished run again and compare.")
@click.argument("run")
@options.training
@options.does("reproduce:reproduce")
def reproduce() -> None:
    """Train RUN (the beginning of its id) again in a temporary folder and compare; exit status 1 if it differs."""


@click.command(short_help="Search settings with Optuna, on validation data.")
@click.argument("words", nargs=-1, required=True, metavar="[status|best|export|report] SPEC [path=value ...]")
@options.storage
@click.option(
    "--from",
    "source",
    metavar="STUDY",
    help="Begin with what fits of an earlier study, by its name, file or URL, or of the store's `runs`.",
)
@click.option("--report", "with_report", is_flag=True, help="Write the report when the trials are done.")
@options.as_json
@options.training
@options.does("sweep:sweep")
def sweep() -> None:
    """Search settings around one RunConfig with Optuna, on validation data.

    SPEC is the path of a sweep file or the name of a shipped one. `status` counts the trials, `best` prints the best
    one and how to make it again, `export` prints all of them as CSV (or --json), `report` writes the pages.
    Exit status 0: done; 1: every trial failed; 2: the input was wrong.
    """


@click.command(short_help="Give every arm of a spec the same search.")
@options.specs
@click.option("--space", "space", default="lr_dropout", metavar="SWEEP", help="Whose space and trials [lr_dropout].")
@click.option("--front", metavar="OBJECTIVE", help="Of several objectives: take each front's best trial in this one.")
@options.storage
@options.training
@options.does("tune:tune")
def tune() -> None:
    """Give every arm of a spec the same search, and write what it found below the results, for --tuned.

    All arms get the space, trials, sampler and pruner of SWEEP, the same first trial (the baseline's own values) and
    the same stream of proposals. Where SWEEP has `metrics:`, an arm takes the point of its front that is best in
    OBJECTIVE, within the limits of `constraints:`. Exit status 1: an arm had no complete trial, and its spec's file is
    not written.
    """


@click.command(short_help="Measure this machine against the plain script.")
@click.argument("words", nargs=-1, metavar="[SPEC... path=value ...]")
@click.option(
    "--reference", is_flag=True, help="Measure the plain script beside ours on the CPU, too (source checkout)."
)
@options.as_json
@options.training
@options.does("bench:bench")
def bench() -> None:
    """Time the training steps of every arm of SPEC (quickstart) on this machine and its data.

    `input` is the share of a step in which images are gathered and augmented; `of products` compares the arithmetic
    with what the same workers reach in products of large matrices.
    """

"""Which options do the verbs share? Those that make a Runtime, and the words of a command line."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import click

from ablation_suite.core.config.runtime import Runtime
from ablation_suite.core.config.schema import Document, validate

FOLDERS = [
    click.option("--results", metavar="DIR", help="Folder of all output [ABLATE_RESULTS, else ./results]."),
    click.option("--data-root", metavar="DIR", help="Where named data sets lie [ABLATE_DATA, else ./data]."),
]
TRAINING = [
    click.option("--device", help="auto, cpu, cuda, cuda:1, ..."),
    click.option("--jobs", help="Runs side by side, or auto."),
    click.option("--threads", type=int, help="CPU threads of one run."),
    click.option("--compile", type=click.Choice(["auto", "on", "off"]), help="Whether torch.compile is used."),
    click.option("--executor", type=click.Choice(["process", "inline"]), help="Who trains."),
    click.option("--tracker", help="auto, online, offline, tensorboard, mlflow or off."),
]
tuned = click.option("--tuned", is_flag=True, help="Compare the arms under the values that `ablate tune` found.")
as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


def folders(command: Callable[..., Any]) -> Callable[..., Any]:
    """Options that say where things lie; the command gets `runtime`."""
    return _with(FOLDERS, command)


def training(command: Callable[..., Any]) -> Callable[..., Any]:
    """Options that say where and how to train; the command gets `runtime`."""
    return _with([*FOLDERS, *TRAINING], command)


def split_words(words: tuple[str, ...]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """SPEC words and `path=value` overrides, told apart by the equals sign."""
    return tuple(w for w in words if "=" not in w), tuple(w for w in words if "=" in w)


def _with(options: list[Any], command: Callable[..., Any]) -> Callable[..., Any]:
    names = [name for option in options for name in option(lambda: None).__click_params__[-1].opts]
    keys = [name.lstrip("-").replace("-", "_") for name in names]

    @functools.wraps(command)
    def wrapped(**kwargs: Any) -> Any:
        given = {key: kwargs.pop(key) for key in keys}
        settings = {key: value for key, value in given.items() if value is not None}
        if str(settings.get("jobs", "")).isdigit():
            settings["jobs"] = int(settings["jobs"])
        runtime = validate(Runtime, Document(data=settings, source="command line"))
        return command(runtime=runtime, **kwargs)

    for option in reversed(options):
        wrapped = option(wrapped)
    return wrapped

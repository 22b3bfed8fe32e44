"""Which options do the verbs share? Those that make a Runtime, and the words of a command line.

What reads a config is imported when a verb runs: its help needs none of it.
"""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Callable, Collection
from importlib import import_module
from typing import Any

import click
from click.core import ParameterSource

from ablation_suite.core.config.errors import UserError, shell_line
from ablation_suite.core.config.paths import typed
from ablation_suite.reports.layout import CELLS, TableLayout, layout_of

RESULTS, DATA = "ABLATE_RESULTS", "ABLATE_DATA"
FOLDERS = [
    click.option("--results", envvar=RESULTS, metavar="DIR", help=f"Folder of all output [{RESULTS}, else ./results]."),
    click.option("--data-root", envvar=DATA, metavar="DIR", help=f"Where named data sets lie [{DATA}, else ./data]."),
]
TRAINING = [
    click.option("--device", help="auto, cpu, cuda, cuda:1, ..."),
    click.option("--devices", metavar="0,2", help="CUDA devices that runs are spread over [all]."),
    click.option("--jobs", help="Runs side by side, or auto."),
    click.option("--threads", type=int, help="CPU threads of one run."),
    click.option("--compile", type=click.Choice(["auto", "on", "off"]), help="Whether torch.compile is used."),
    click.option("--channels-last", type=click.Choice(["auto", "on", "off"]), help="Memory format of images."),
    click.option(
        "--deterministic/--no-deterministic",
        default=None,
        help="Kernels that give the same bits at each run, or the fastest [deterministic].",
    ),
    click.option("--checkpoint-minutes", type=float, help="Longest time between checkpoints in an epoch [5]."),
    click.option("--executor", type=click.Choice(["process", "inline", "slurm", "ray"]), help="Who trains."),
    click.option("--slurm", metavar="OPTIONS", help="Options of sbatch: '-p gpu --gres=gpu:1 -t 8:00:00'."),
    click.option("--pack", metavar="N", help="Runs of one Slurm task, or auto."),
    click.option("--ray-address", envvar="RAY_ADDRESS", metavar="ADDRESS", help="The Ray cluster [RAY_ADDRESS]."),
    click.option(
        "--tracker",
        help="auto, online, offline, tensorboard, mlflow or off. W&B's metrics of the machine are off; "
        "WANDB_X_DISABLE_STATS=false turns them on.",
    ),
]
FOLDER_NAMES = ("results", "data_root")
TRAINING_NAMES = (
    *FOLDER_NAMES,
    *("device", "devices", "jobs", "threads", "compile", "channels_last", "deterministic", "checkpoint_minutes"),
    *("executor", "slurm", "pack", "ray_address", "tracker"),
)
"""What verbs of the same kind take over from each other."""
storage = click.option(
    "--storage",
    envvar="ABLATE_STORAGE",
    metavar="URL",
    callback=lambda _, __, url: url and re.sub(r"(?<=^sqlite:///)~[^/]*", lambda home: str(typed(home[0])), url),
    help="Database of the studies [ABLATE_STORAGE].",
)
tuned = click.option("--tuned", is_flag=True, help="Compare the arms under the values that `ablate tune` found.")
LAYOUTS = [
    click.option(
        "--table",
        "tables",
        multiple=True,
        metavar="LAYOUT",
        help="A table for a paper, such as arms=rows,metrics=columns; axes are arms, metrics, blocks and seeds.",
    ),
    click.option("--columns", metavar="WORDS", help=f"What its cells hold, of {','.join(CELLS)} [mean,difference]."),
]
as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
specs = click.argument("words", nargs=-1, required=True, metavar="SPEC... [path=value ...]")
arms = click.option("--arm", "arms", multiple=True, help="Only this arm (again for more).")
seeds = click.option("--seed", "seeds", multiple=True, type=int, help="Only this seed (again for more).")


def does(work: str) -> Callable[[Callable[[], None]], Callable[..., Any]]:
    """What a verb does: a function of `commands`, as "module:function", that takes its words and options by name."""

    def joined(declared: Callable[[], None]) -> Callable[..., Any]:
        @functools.wraps(declared)
        def call(**given: Any) -> Any:
            module, _, name = work.partition(":")
            return getattr(import_module(f"ablation_suite.commands.{module}"), name)(**given)

        call.does = work  # type: ignore[attr-defined]
        return call

    return joined


def folders(command: Callable[..., Any]) -> Callable[..., Any]:
    """Options that say where things lie; the command gets `runtime`."""
    return _with(FOLDERS, command)


def training(command: Callable[..., Any]) -> Callable[..., Any]:
    """Options that say where and how to train; the command gets `runtime`."""
    return _with([*FOLDERS, *TRAINING], command)


def layouts(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options of tables for papers, as the argument `layouts`; LayoutError where one is none."""

    @functools.wraps(command)
    def read(*arguments: Any, tables: tuple[str, ...], columns: str | None, **others: Any) -> Any:
        asked: list[TableLayout] = [layout_of(each, columns) for each in tables or (("arms=rows",) if columns else ())]
        return command(*arguments, layouts=asked, **others)

    return functools.reduce(lambda found, option: option(found), reversed(LAYOUTS), read)


def split_words(words: tuple[str, ...]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """SPEC words and `path=value` overrides, told apart by the equals sign; a path that exists is a SPEC."""
    overrides = tuple(word for word in words if "=" in word and not typed(word).exists())
    return tuple(word for word in words if word not in overrides), overrides


def command(verb: str, *words: str, carry: Collection[str] | None = None, **instead: str) -> str:
    """A command line for people to paste: the verb, its words, and what was given to the command that prints it."""
    return shell_line(["ablate", verb, *words, *given(carry, **instead)])


def given(carry: Collection[str] | None = None, **instead: str) -> list[str]:
    """The options that the running command was given, on its command line or by the environment, as words.

    `carry` names those that the printed command has as well (all of them where it is the same verb), and `instead` has
    what is printed for values that nobody may see.
    """
    context = click.get_current_context(silent=True)
    if context is None:
        return []
    words: list[str] = []
    for option in context.command.params:
        name = str(option.name)
        if not isinstance(option, click.Option) or (carry is not None and name not in carry):
            continue
        if context.get_parameter_source(name) not in (ParameterSource.COMMANDLINE, ParameterSource.ENVIRONMENT):
            continue
        flag, value = max(option.opts, key=len), instead.get(name, context.params[name])
        if option.is_flag:
            words.append(flag if value or not option.secondary_opts else option.secondary_opts[0])
        else:
            words += [word for each in (value if option.multiple else [value]) for word in (flag, str(each))]
    return words


def _numbers(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(word) for word in text.split(","))
    except ValueError:
        raise click.BadParameter(f"{text!r} is not numbers of devices, such as 0,2", param_hint="--devices") from None


def _with(options: list[Any], command: Callable[..., Any]) -> Callable[..., Any]:
    keys = [option(lambda: None).__click_params__[-1].name for option in options]

    @functools.wraps(command)
    def wrapped(**kwargs: Any) -> Any:
        from ablation_suite.core.config.runtime import Runtime
        from ablation_suite.core.config.schema import Document, validate

        given = {key: kwargs.pop(key) for key in keys}
        settings = {key: value for key, value in given.items() if value is not None}
        for name in ("jobs", "pack"):
            if str(settings.get(name, "")).isdigit():
                settings[name] = int(settings[name])
        if "devices" in settings:
            settings["devices"] = _numbers(settings["devices"])
        runtime = validate(Runtime, Document(data=settings, source="command line"))
        if os.path.isfile(runtime.results):
            raise UserError(f"{runtime.results}: is a file, and all output goes to a folder; name one with --results")
        return command(runtime=runtime, **kwargs)

    for option in reversed(options):
        wrapped = option(wrapped)
    return wrapped

"""What can be typed? `ablate VERB`; a verb's code is loaded when the verb runs, so that help is instant."""

from __future__ import annotations

import sys
from importlib import import_module
from typing import Any

import click

from ablation_suite import output
from ablation_suite.core.config.errors import UserError, plain_os_errors
from ablation_suite.output import say

VERBS = {
    "check": ("ablation_suite.commands.look:check", "Check specs and list all their faults."),
    "plan": ("ablation_suite.commands.look:plan", "Show the runs that specs need: finished, failed, missing."),
    "diff": ("ablation_suite.commands.look:diff", "Show every setting in which an arm differs from the baseline."),
    "audit": ("ablation_suite.commands.look:audit", "Show what else moved when an arm changed its factor."),
    "run": ("ablation_suite.commands.run:run", "Train every missing run of specs."),
    "report": ("ablation_suite.commands.report:report", "Write tables, curves and pages from finished runs."),
    "figure": ("ablation_suite.commands.figure:figure", "Draw one figure of a report again, for a paper."),
    "compare": ("ablation_suite.commands.report:compare", "Compare runs of no common spec."),
    "cancel": ("ablation_suite.commands.cancel:cancel", "End the runs of specs that are under way or in a queue."),
    "status": ("ablation_suite.commands.look:status", "Show the runs of the results folder."),
    "show": ("ablation_suite.commands.look:show", "Show one run: its settings, numbers, provenance."),
    "predict": ("ablation_suite.commands.predict:predict", "Classify images with finished runs."),
    "reproduce": ("ablation_suite.commands.reproduce:reproduce", "Train a finished run again and compare."),
    "sync": ("ablation_suite.commands.sync:sync", "Publish finished runs to W&B."),
    "sweep": ("ablation_suite.commands.sweep:sweep", "Search settings with Optuna, on validation data."),
    "tune": ("ablation_suite.commands.tune:tune", "Give every arm of a spec the same search."),
    "data": ("ablation_suite.commands.data:data", "Check data sets and manage the decoded cache."),
    "menu": ("ablation_suite.commands.menu:menu", "List every choice, setting and default."),
    "init": ("ablation_suite.commands.init:init", "Write a part of your own to begin with."),
    "bench": ("ablation_suite.commands.bench:bench", "Measure this machine against the plain script."),
}
"""Verb -> (where its command lies, its one line of help)."""


class LazyGroup(click.Group):
    """A group whose commands are imported when they are used."""

    def list_commands(self, context: click.Context) -> list[str]:
        return list(VERBS)

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        if name not in VERBS:
            return None
        module, _, attribute = VERBS[name][0].partition(":")
        return getattr(import_module(module), attribute)

    def format_commands(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Verbs"):
            formatter.write_dl([(name, help_text) for name, (_, help_text) in VERBS.items()])

    def resolve_command(self, context: click.Context, args: list[str]) -> Any:
        try:
            return super().resolve_command(context, args)
        except click.UsageError as error:
            import difflib

            close = difflib.get_close_matches(args[0], VERBS, n=1)
            hint = f" (did you mean '{close[0]}'?)" if close else f"; one of {', '.join(VERBS)}"
            raise click.UsageError(f"no verb '{args[0]}'{hint}") from error


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="ablation-suite")
def ablate() -> None:
    """Controlled ablations of image classifiers: one factor at a time, paired seeds, honest tables.

    SPEC is the path of a spec file or folder, the name of a shipped one, or `all`.
    """


def main() -> None:
    """Run a verb; wrong input is one line per fault and exit status 2, an interruption 130, termination 143."""
    import signal

    output.prepare()
    signal.signal(signal.SIGTERM, _terminate)
    try:
        with plain_os_errors():
            sys.exit(ablate(standalone_mode=False) or 0)
    except click.exceptions.Exit as error:
        sys.exit(error.exit_code)
    except click.ClickException as error:
        error.show()
        sys.exit(2)
    except UserError as error:
        say(str(error), err=True)
        sys.exit(2)
    except (click.Abort, KeyboardInterrupt):
        sys.exit(130)


def _terminate(*_: Any) -> None:
    sys.exit(143)


if __name__ == "__main__":
    main()

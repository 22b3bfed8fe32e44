"""What can be typed? `ablate VERB`; what a verb does is loaded when it runs, so that help is instant."""

from __future__ import annotations

import sys
from typing import Any

import click

from ablation_suite import output
from ablation_suite import reading_verbs as looking
from ablation_suite import training_verbs as training
from ablation_suite.core.config.errors import UserError, nearest, plain_os_errors
from ablation_suite.output import say

VERBS = (
    *(looking.check, looking.plan, looking.diff, looking.audit, training.run, looking.report, looking.figure),
    *(looking.compare, training.cancel, looking.status, looking.show, looking.predict, training.reproduce),
    *(looking.sync, training.sweep, training.tune, looking.data, looking.menu, looking.init, training.bench),
)


class Verbs(click.Group):
    """The verbs in the order in which they are met, not in that of the alphabet."""

    def list_commands(self, context: click.Context) -> list[str]:
        return list(self.commands)

    def format_commands(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Verbs"):
            formatter.write_dl([(name, verb.get_short_help_str(100)) for name, verb in self.commands.items()])

    def resolve_command(self, context: click.Context, args: list[str]) -> Any:
        try:
            return super().resolve_command(context, args)
        except click.UsageError as error:
            hint = nearest(args[0], self.commands) or f"; one of {', '.join(self.commands)}"
            raise click.UsageError(f"no verb '{args[0]}'{hint}") from error


@click.group(
    cls=Verbs, commands=VERBS, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110}
)
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

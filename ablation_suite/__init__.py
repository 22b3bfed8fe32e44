"""The ablation suite: does this change really help? `import ablation_suite as abl` has the verbs as functions."""

from __future__ import annotations

TYPE_CHECKING = False  # as typing has it, which is not imported: a typing.py may lie where the user stands
if TYPE_CHECKING:
    from ablation_suite.answers import Answer, BlocksAnswer, Run, Store
    from ablation_suite.api import compare, open, plan, report, run

__all__ = ["Answer", "BlocksAnswer", "Run", "Store", "compare", "open", "plan", "report", "run"]


def __getattr__(name: str) -> object:
    # Imported when first used, so that each verb of the command line loads only what it needs.
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from ablation_suite import answers, api

    return getattr(answers if name[0].isupper() else api, name)


def __dir__() -> list[str]:
    return __all__

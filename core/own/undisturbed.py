"""Does an own part leave the process as it found it? Random states and settings that others read are compared."""

from __future__ import annotations

import os
import random
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from importlib.abc import MetaPathFinder
from importlib.machinery import ExtensionFileLoader, ModuleSpec, SourceFileLoader
from types import ModuleType
from typing import Any

from ablation_suite.core.config.errors import OwnPartError

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)
"""Those that ask a worker to save and stop."""


@contextmanager
def undisturbed(name: str) -> Iterator[None]:
    """OwnPartError where a global random state, or a setting that all code of a process shares, is another afterwards.

    No seed of the run governs such draws, and a warm worker would train the next run under such a setting. All are
    given back in any case, so that one part cannot move another either. What is drawn where installed modules are
    imported is no fault of the part's.
    """
    before = list(_states())
    finder = _Installed()
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)
        now = {kind: value for kind, value, _ in _states()}
        moved = {kind: value for kind, value, _ in before if not _same(now[kind], value)}
        for kind, value, give_back in before:
            if kind in moved:
                give_back(value)
    if random_states := [kind for kind in moved if kind in RANDOM]:
        raise OwnPartError(
            f"{name}: changes the global random state of {' and '.join(random_states)}, which no seed of the run "
            "governs; draw from torch's generators, where `ablate menu own` says that they are seeded, or from one "
            "with a fixed seed"
        )
    if moved:
        raise OwnPartError(
            f"{name}: changes {' and '.join(moved)} for the whole process, and so for other runs; undo it, or pass "
            "what you need as an argument"
        )


RANDOM = ("Python's", "NumPy's", "torch's")

State = tuple[str, Any, Callable[[Any], object]]
"""What it is, as people say it; its value; and how it is given back."""


def _states() -> Iterator[State]:
    yield from _random_states(sys.modules)
    if (torch := sys.modules.get("torch")) is not None:
        yield "torch's default dtype", torch.get_default_dtype(), torch.set_default_dtype
        yield "whether torch keeps gradients", torch.is_grad_enabled(), torch.set_grad_enabled
        yield "torch's number of threads", torch.get_num_threads(), torch.set_num_threads
        deterministic = torch.are_deterministic_algorithms_enabled()
        yield "torch's choice of deterministic kernels", deterministic, _deterministic(torch)
        for said, module, name in (
            ("cuDNN's search of kernels", torch.backends.cudnn, "benchmark"),
            ("the precision of products", torch.backends.cuda.matmul, "fp32_precision"),
            ("the precision of convolutions", torch.backends.cudnn.conv, "fp32_precision"),
        ):
            yield said, getattr(module, name), partial(setattr, module, name)
    yield "the current folder", os.getcwd(), os.chdir
    if threading.current_thread() is threading.main_thread():
        for number in SIGNALS:
            yield f"what {number.name} does", signal.getsignal(number), _handler(number)


def _deterministic(torch: ModuleType) -> Callable[[Any], object]:
    warns = torch.is_deterministic_algorithms_warn_only_enabled()
    return partial(torch.use_deterministic_algorithms, warn_only=warns)


def _random_states(modules: Mapping[str, ModuleType]) -> Iterator[State]:
    yield "Python's", random.getstate(), random.setstate
    if (numpy := modules.get("numpy")) is not None:
        yield "NumPy's", numpy.random.get_state(legacy=True), numpy.random.set_state
    if (torch := modules.get("torch")) is not None:
        yield "torch's", torch.get_rng_state(), torch.set_rng_state


class _Installed(MetaPathFinder):
    """Gives random states back after the import of a module from a file, as `rich` draws, which scikit-learn imports.

    Own parts are imported by a loader of ours, and judged.
    """

    def __init__(self) -> None:
        self.modules: dict[str, ModuleType] = {
            name: sys.modules[name] for name in ("numpy", "torch") if name in sys.modules
        }
        """Those that are whole: within the import of torch itself there is no state to ask for yet."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        others = (each for each in sys.meta_path if not isinstance(each, _Installed))
        spec = next(filter(None, (each.find_spec(fullname, path, target) for each in others)), None)
        if spec is not None and isinstance(loader := spec.loader, SourceFileLoader | ExtensionFileLoader):
            run = loader.exec_module

            def exec_module(module: ModuleType) -> None:
                before = list(_random_states(self.modules))
                try:
                    run(module)
                finally:
                    for _, value, give_back in before:
                        give_back(value)

            loader.exec_module = exec_module  # type: ignore[method-assign]
        return spec


def _handler(number: signal.Signals) -> Callable[[Any], object]:
    return lambda handler: signal.signal(number, handler)


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, tuple):
        return all(_same(*pair) for pair in zip(one, other, strict=True))
    return bool((one == other).all()) if hasattr(one, "all") else bool(one == other)

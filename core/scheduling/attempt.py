"""What does a worker do with a run folder? Claim it, train it, commit its record, or say why not."""

from __future__ import annotations

import re
import signal
import traceback
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from ablation_suite.core.config.errors import OwnPartError, os_error_line
from ablation_suite.core.config.menu import build
from ablation_suite.core.config.run_config import RunConfig
from ablation_suite.core.config.runtime import Runtime
from ablation_suite.core.config.schema import Document, SchemaError, validate
from ablation_suite.core.data.dataset import DataError, Dataset
from ablation_suite.core.data.parallel import Stopped, stopping_when
from ablation_suite.core.own.kept import admit
from ablation_suite.core.own.loading import told
from ablation_suite.core.runs.damage import Damaged
from ablation_suite.core.runs.files import write_json
from ablation_suite.core.runs.lease import Stillness
from ablation_suite.core.runs.provenance import provenance
from ablation_suite.core.runs.run_folder import Busy, RunFolder
from ablation_suite.core.scheduling.executors import Retry
from ablation_suite.core.tracking.wandb import open_tracker

if TYPE_CHECKING:
    from ablation_suite.core.training.feed import Feeds
    from ablation_suite.core.training.session import StepTaken

DONE, FAILED, BAD_DATA, LOST_DEVICE, PREEMPTED, BAD_CONFIG = 0, 1, 65, 70, 75, 78
"""Exit statuses: 75 is run again free of charge, 65 and 78 never (78: no memory, too), anything else a few times.

After 70 the process is of no use any more, and ends.
"""
DIVERGED: Final = "loss not finite"
"""The kind of failure that says something about the run's own settings, and nothing about the machine."""
_NO_MEMORY = re.compile(r"can't allocate memory|error: out of memory|_ALLOC(ATION)?_FAILED")
"""What torch, CUDA and its libraries (cuBLAS, cuDNN 9, ...) say where memory runs out, in errors of no own kind."""


def retry_after(exit_status: int) -> Retry:
    """What becomes of a run whose worker ended with this status and left no record."""
    if exit_status in (DONE, BAD_DATA, BAD_CONFIG):  # one that claims to be done would do so again
        return "never"
    return "free" if exit_status == PREEMPTED else "counted"


class Datasets:
    """The data sets that a warm worker has opened, by fingerprint and config, and what of them lies on its device."""

    def __init__(self) -> None:
        self._open: dict[str, Dataset] = {}
        self._feeds: Feeds | None = None

    def feeds(self, dataset: Dataset) -> Feeds:
        """The feeds of this data set; what others left on a device is let go."""
        from ablation_suite.core.training.feed import Feeds

        self._feeds = self._feeds or Feeds()
        self._feeds.keep_only(split.images for split in dataset.splits.values())
        return self._feeds

    def get(self, config: RunConfig, data_fingerprint: str, runtime: Runtime) -> Dataset:
        """The data set of a config; DataError where its content is no longer what the run id was made from."""
        key = config.data.model_dump_json()
        if key not in self._open:
            source = build(config.data, data_root=Path(runtime.data_root), cache=Path(runtime.cache))
            self._open[key] = source.load()
        dataset = self._open[key]
        if dataset.fingerprint != data_fingerprint:
            raise DataError("data: the images changed since this run was planned; plan it again")
        return dataset


def work(
    folder: RunFolder,
    runtime: Runtime,
    datasets: Datasets,
    *,
    stop: Callable[[], bool] = lambda: False,
    on_step: Callable[[StepTaken], None] = lambda step: None,
    on_failure: Callable[[str], None] = lambda message: None,
) -> int:
    """Bring one run folder to its record and return the exit status; `attempts/<k>/failure.json` tells of a failure.

    `on_failure` hears of it as well, since a disk that fails a run may take no file that says so.
    """
    from ablation_suite.core.training.device import give_back_memory
    from ablation_suite.core.training.loop import Preempted

    stillness = Stillness()

    def stepped(step: StepTaken) -> None:
        stillness.begun = True
        on_step(step)

    try:
        with folder.claim() as attempt, folder.beating(lambda: not stillness.is_too_long()) as unwanted:
            try:
                _train(folder, runtime, datasets, int(attempt.name), lambda: unwanted.is_set() or stop(), stepped)
                return DONE
            except (Preempted, Stopped) as error:
                folder.ledger.append("event", event="preempted", message=str(error))
                return PREEMPTED
            except (Exception, SystemExit, KeyboardInterrupt) as error:
                if _is_of_a_signal(error):
                    raise
                status, kind, message = _explain(error, folder, runtime)
                on_failure(message)
                failure = {"kind": kind, "status": status, "message": message, "traceback": traceback.format_exc()}
                with suppress(OSError):
                    write_json(attempt / "failure.json", failure)
                    folder.ledger.append("event", event="failed", failure=kind, message=message)
                return status
    except Busy:
        return PREEMPTED
    except OSError as error:  # not even the claim could be written
        on_failure(os_error_line(error))
        return FAILED
    finally:
        give_back_memory()


def _train(
    folder: RunFolder,
    runtime: Runtime,
    datasets: Datasets,
    attempt: int,
    stop: Callable[[], bool],
    on_step: Callable[[StepTaken], None],
) -> None:
    from ablation_suite.core.training.device import pick_device
    from ablation_suite.core.training.finish import finish
    from ablation_suite.core.training.loop import train

    if folder.is_finished():
        folder.clean()
        return
    job = folder.job()
    if missing := [key for key in ("config", "data_fingerprint") if key not in job]:
        raise Damaged(f"{folder.path / 'run.json'}: is damaged (it has no {', '.join(missing)})")
    admit(folder.path, job["config"])
    config = validate(RunConfig, Document(data=job["config"], source=str(folder.path / "run.json")))
    with stopping_when(stop):
        dataset = datasets.get(config, job["data_fingerprint"], runtime)
    facts = provenance(runtime, str(pick_device(runtime)))
    folder.ledger.append("start", attempt=attempt, provenance=facts)
    with open_tracker(runtime, folder) as tracker:
        session, position = train(
            config,
            dataset,
            runtime,
            folder,
            stop=stop,
            on_step=on_step,
            publish=tracker.publish,
            feeds=datasets.feeds(dataset),
        )
        parts = session.parts
        facts |= {"compile": parts.compiling.words, "compiled": list(parts.compiled)}
        facts["memory_format"] = str(parts.network.memory_format).removeprefix("torch.")
        facts["deterministic"] = "on" if runtime.deterministic else "off"
        facts["augmentation"] = parts.augment.ran or "by an earlier attempt"
        record = finish(folder, session, position, facts)
        folder.ledger.append("end", metrics=record["metrics"], best_epoch=position.best_epoch)
        folder.commit(record)
        tracker.publish()
    folder.clean()


def _is_of_a_signal(error: BaseException) -> bool:
    """Whether people end this process, by Ctrl-C or SIGTERM; a worker's signals raise nothing, code that exits does."""
    if isinstance(error, KeyboardInterrupt):
        return signal.getsignal(signal.SIGINT) is signal.default_int_handler
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    return frames[-1].f_code is getattr(signal.getsignal(signal.SIGTERM), "__code__", None)


def _explain(error: BaseException, folder: RunFolder, runtime: Runtime) -> tuple[int, str, str]:
    """Exit status, kind and message of a failure."""
    from ablation_suite.core.models.weights import NetworkError, WeightsError
    from ablation_suite.core.training.device import DeviceError, is_lost
    from ablation_suite.core.training.loop import NonFiniteLoss

    if is_lost(runtime):  # asked first, since whatever was done afterwards may have failed of it
        return LOST_DEVICE, "lost device", f"{runtime.device} answers nothing but errors any more: {_line(error)}"
    if isinstance(error, DataError):
        return BAD_DATA, "bad data", str(error)
    if isinstance(error, NonFiniteLoss):
        return BAD_CONFIG, DIVERGED, str(error)
    if isinstance(error, WeightsError | NetworkError | SchemaError | DeviceError | OwnPartError):
        return BAD_CONFIG, "bad configuration", str(error)
    own = told(error)
    if isinstance(error, OSError) and own is None:
        return FAILED, type(error).__name__, os_error_line(error)
    if _is_out_of_memory(error):
        return BAD_CONFIG, "out of memory", _out_of_memory(error, folder, runtime)
    if own is not None:
        return BAD_CONFIG, "own part failed", str(own)
    if not isinstance(error, Exception):
        return FAILED, type(error).__name__, f"the training ends its process ({error!r})"
    return FAILED, type(error).__name__, str(error) or type(error).__name__


def _out_of_memory(error: BaseException, folder: RunFolder, runtime: Runtime) -> str:
    """How much there was, what asked for more, and the two settings that need less."""
    from ablation_suite.core.training.device import pick_device, total_memory_bytes

    device = pick_device(runtime)
    room = f"on {device} with {total_memory_bytes(device) / 2**30:.1f} GiB ({_line(error)})"
    config = folder.job().get("config") if folder.has_job() else None  # which may have been damaged since
    if not config:
        return f"out of memory {room}; set a smaller batch_size, or more accumulate"
    size, pieces = config["batch_size"], config["accumulate"]
    return (
        f"out of memory at batch_size {size}, accumulate {pieces}, {room}; "
        f"set accumulate={2 * pieces}, or batch_size={max(1, size // 2)}"
    )


def _line(error: BaseException) -> str:
    return str(error).partition("\n")[0] or type(error).__name__


def _is_out_of_memory(error: BaseException) -> bool:
    """Whether memory ran out; the same run would run out of it again."""
    import torch

    return isinstance(error, torch.OutOfMemoryError | MemoryError) or bool(_NO_MEMORY.search(str(error)))

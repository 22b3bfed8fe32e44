"""Where is the study that `--from` names? By its name, by its file, or in a database."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import optuna

from ablation_suite.core.config.errors import nearest
from ablation_suite.core.config.paths import typed
from ablation_suite.core.config.runtime import Runtime
from ablation_suite.sweeps.opening import open_storage
from ablation_suite.sweeps.spec import Sweep
from ablation_suite.sweeps.storage import StorageError
from ablation_suite.sweeps.storage_errors import hide_password, plain_errors

RUNS = "runs"
"""What stands for the finished runs of the store."""
_SQLITE = b"SQLite format 3\0"


@contextmanager
def open_earlier(source: str, sweep: Sweep, runtime: Runtime, url: str | None) -> Iterator[optuna.Study]:
    """The study of a source, to read; StorageError where there is none, or where it is none of ours."""
    place, journal, name = _locate(source, runtime, url)
    source = hide_password(source)
    with plain_errors(place, journal), open_storage(place, journal, to_write=False) as storage:
        names = optuna.study.get_all_study_names(storage=storage)
        if name is None and len(names) != 1:
            raise StorageError(f"--from {source}: holds {len(names)} studies, {_listed(names)}; write {source}#NAME")
        chosen = names[0] if name is None else name
        if chosen not in names:
            raise StorageError(
                f"--from {source}: no study '{chosen}'{nearest(chosen, names)}; there are {_listed(names)}"
            )
        if chosen == sweep.name and place == url and journal == _journal(sweep.name, runtime):
            raise StorageError(f"--from {source}: is the study that would begin with it; name another one")
        study = optuna.load_study(study_name=chosen, storage=storage)
        if "identity" not in study.user_attrs:
            message = "was not made by `ablate sweep`, so that nothing tells what its trials trained"
            raise StorageError(
                f"--from {source}: study '{chosen}' {message}; add_trial of optuna takes them over as told"
            )
        yield study


def _locate(source: str, runtime: Runtime, url: str | None) -> tuple[str | None, Path, str | None]:
    """(URL or None, journal, name of the study or None) of a source."""
    place, _, name = source.partition("#")
    none = _journal(place, runtime)
    if "://" in place:
        return place, none, name or None
    file = typed(place)
    if (file / "journal.log").is_file():
        file = file / "journal.log"
    if file.is_file():
        with open(file, "rb") as opened:
            is_database = opened.read(len(_SQLITE)) == _SQLITE
        return (f"sqlite:///{file.resolve()}", none, name or None) if is_database else (None, file, name or None)
    if none.is_file():
        return None, none, place
    if url is not None:
        return url, none, place
    there = sorted(each.parent.name for each in none.parent.parent.glob("*/journal.log"))
    message = f"no such study or file{nearest(place, there)}; in {none.parent.parent} lie {_listed(there)}"
    raise StorageError(f"--from {source}: {message}; `{RUNS}` are the finished runs of the store")


def _journal(name: str, runtime: Runtime) -> Path:
    return Path(runtime.results) / "sweeps" / name / "journal.log"


def _listed(names: list[str]) -> str:
    return ", ".join(names) or "none"

"""How does the code of own parts travel with a run? In its folder's `code/`, by version, verified when it is read."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ablation_suite.core.config.errors import OwnPartError
from ablation_suite.core.config.own import has_digest, own_data
from ablation_suite.core.own.source import Source, known


def keep(folder: Path, config: Any) -> None:
    """Write the files of a config's own parts below a run folder; those that are there stay."""
    for code in _codes(config):
        target = folder / "code" / code
        if target.is_dir():
            continue
        temporary = target.with_name(f".{code}.{os.getpid()}")
        for name, content in known[code].files.items():
            (temporary / name).parent.mkdir(parents=True, exist_ok=True)
            (temporary / name).write_bytes(content)
        try:
            os.rename(temporary, target)
        except OSError:  # another driver was first
            shutil.rmtree(temporary)


def admit(folder: Path, config: Any) -> None:
    """Take up the kept code of a config's own parts, so that it may be run in this process.

    To be called for a run folder that the user, or the user's driver, has named to be trained or used; never for the
    sake of reading a record. OwnPartError where files are missing or are not those that trained.
    """
    for part in own_data(config):
        if not part.get("code"):
            raise OwnPartError(f"{folder}: has no code of {part['name']}")
    for code in _codes(config):
        if code not in known:
            read(folder / "code" / code, code)


def require_trusted(folder: Path, config: Any, stores: Sequence[Path]) -> None:
    """OwnPartError for a run with code of its own that lies anywhere but in the user's own results."""
    if any(own_data(config)) and folder.resolve().parent not in [store.resolve() for store in stores]:
        raise OwnPartError(
            f"run {folder.name}: has own parts, whose code would be run, and does not lie in {stores[0]}; if you trust "
            "whoever made it, name its results folder with --results"
        )


def read(place: Path, code: str) -> None:
    """Take up one kept version; OwnPartError where it is not what was kept."""
    paths = sorted(path for path in place.rglob("*.py") if path.is_file())
    names = {path.relative_to(place).as_posix(): path for path in paths}
    source = Source(
        files={name: path.read_bytes() for name, path in names.items()},
        origins={name: str(path) for name, path in names.items()},
        is_kept=True,
    )
    if source.code != code:
        state = "not what was kept" if paths else "gone"
        raise OwnPartError(
            f"{place}: the code of this run is {state}, and is not run; remove the folder and run its spec"
        )
    known[code] = source


def changed_files(folder: Path, old: str, new: str) -> list[str]:
    """The files in which a run's kept version differs from one of this process; of what is installed, both versions."""
    place, files = folder / "code" / old, known[new].files if new in known else {}
    if not files or not place.is_dir():
        return [f"{old} -> {new}"]
    kept = {path.relative_to(place).as_posix(): path for path in place.rglob("*.py")}
    same = {name for name in kept.keys() & files.keys() if kept[name].read_bytes() == files[name]}
    return sorted((kept.keys() | files.keys()) - same)


def packed(configs: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, dict[str, str]]]:
    """The code of the own parts of configs as plain JSON, for a process of ours."""
    sources = {code: known[code] for code in dict.fromkeys(code for config in configs for code in _codes(config))}
    return {
        code: {
            "files": {name: content.decode("latin-1") for name, content in source.files.items()},
            "origins": dict(source.origins),
        }
        for code, source in sources.items()
    }


def unpack(codes: Mapping[str, Mapping[str, Mapping[str, str]]]) -> None:
    """Take up what `packed` gave."""
    for code, source in codes.items():
        files = {name: content.encode("latin-1") for name, content in source["files"].items()}
        known.setdefault(code, Source(files, source["origins"]))


def _codes(config: Any) -> list[str]:
    """The versions of files that a config's own parts name, each once."""
    return list(dict.fromkeys(part["code"] for part in own_data(config) if has_digest(part)))

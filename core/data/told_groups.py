"""Which photographs of a folder belong together, where a table says so or where they are nearly the same picture?"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path

from ablation_suite.core.config.paths import typed
from ablation_suite.core.data import file_hashes, layout, parallel
from ablation_suite.core.data.dataset import DataError, Finding, in_brief
from ablation_suite.core.data.groups import NEAR_DUPLICATES
from ablation_suite.core.runs.files import open_regular


def by_table(table: str, folder: Path, files: Sequence[layout.File]) -> list[str]:
    """The group of each file; DataError says all that is wrong with the table.

    table: a CSV file with the columns `file` (its path below the folder) and `group`, from here or in the folder.
    Other columns and other files say nothing.
    """
    here = typed(table)
    path = here if here.exists() else folder / here
    found: dict[str, str] = {}
    faults = []
    try:
        with io.TextIOWrapper(open_regular(path), encoding="utf-8-sig", newline="") as text:
            rows = csv.DictReader(text, strict=True)
            counts = {column: list(rows.fieldnames or ()).count(column) for column in ("file", "group")}
            if wrong := [
                f"{count or 'no'} column{'s' * (count > 1)} {name}" for name, count in counts.items() if count != 1
            ]:
                raise DataError(f"{path}: {' and '.join(wrong)}; it needs file and group, once each")
            for row in rows:
                name, group = (row["file"] or "").strip(), (row["group"] or "").strip()
                if found.setdefault(name, group) != group:
                    faults.append(Finding(f"{path}:{rows.line_num}: {name}", "is in a second group; keep one"))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: groups cannot be read: {getattr(error, 'strerror', None) or error}") from None
    alone = [file.path for file in files if not found.get(file.path)]
    faults += [Finding(f"{path}: {each}", "has no group; add a row") for each in alone]
    if faults:
        raise DataError(in_brief(faults, f"the table needs one row for each of {len(files):,} photographs"))
    return [found[file.path] for file in files]


def by_likeness(folder: Path, files: Sequence[layout.File], content: str, cache: Path) -> list[str]:
    """The group of each file: the first one that shows the same picture, through whatever chain of near-duplicates.

    The measure is that of `ablate data check`. content: digest of the files, by which the cache remembers the answer.
    """
    from ablation_suite.core.data import near
    from ablation_suite.core.data.decode import Unreadable, whole

    def sketch(index: int) -> near.Sketch | None:
        try:
            with whole(folder / files[index].path) as image:
                return near.sketch(image)
        except Unreadable:
            return None

    memory = cache / NEAR_DUPLICATES / f"{content[:16]}-{near.SIDE}-{near.MAX_DIFFERENCE:g}.sealed"
    groups = file_hashes.recall(memory).get("groups")
    if groups is None:
        sketches = parallel.each(sketch, len(files), parallel.bar(f"comparing {folder}"))
        seen = [(index, each) for index, each in enumerate(sketches) if each is not None]
        groups = [[seen[i][0] for i in group] for group in near.groups([each for _, each in seen])]
        file_hashes.remember(memory, {"root": str(folder), "content": content, "groups": groups})
    first = {index: group[0] for group in groups for index in group}
    return [files[first.get(index, index)].path for index in range(len(files))]

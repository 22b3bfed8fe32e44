"""What can be said to the data from the command line? `ablate data check` and `ablate data cache`."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

from ablation_suite.core.config.runtime import Runtime
from ablation_suite.core.data import Folder, cache_folder
from ablation_suite.core.data.dataset import DataError
from ablation_suite.output import say


def check(folder: str, data_root: str | None, as_json: bool, everything: bool) -> None:
    """Say all that is wrong with the images below DIR, and what of all that lies there is passed over."""
    from ablation_suite.core.data import check
    from ablation_suite.core.data.folder import located

    findings = check.inspect(located(folder, _root(data_root)))
    as_dict = dataclasses.asdict(findings) | {"ok": findings.ok}
    say(json.dumps(as_dict, indent=1) if as_json else check.text(findings, everything=everything))
    raise SystemExit(0 if findings.ok else 1)


def build(path: str, size: int, data_root: str | None) -> None:
    """Decode the folder PATH now, not when the first run needs it."""
    from ablation_suite.core.config.menu import build

    entry = Folder(path=path, size=size)
    found = build(entry, data_root=_root(data_root), cache=_cache()).decoded()
    for split, every in found.items():
        say(f"{split}: {len(every.images):,} images, {len(every.unreadable):,} of them unreadable")


def list_(as_json: bool) -> None:
    """Say what lies in the cache."""
    entries = cache_folder.entries(_cache())
    if as_json:
        shown = {k: each and {n: v for n, v in each.items() if n != "unreadable"} for k, each in entries.items()}
        say(json.dumps(shown))
        return
    for key, each in entries.items():
        if each is None:
            say(f"{key}  damaged, or not of this version: decoded anew when it is asked for")
            continue
        number = sum(each["num_images"].values())
        room = f"{each['num_bytes'] / 1e9:8.2f} GB" if each["stored"] else " on the fly"
        say(f"{key}  {room}  {number:>9,} images  {each['created']}  {each['title']}")
    say(f"{_cache() / 'decoded'}: {cache_folder.room(_cache())[1]}")


def remove(key: str | None, everything: bool) -> None:
    """Remove the decoded images of KEY, as `list` names it."""
    if (key is None) != everything:
        raise DataError("ablate data cache remove: name one KEY (see `ablate data cache list`), or give --all")
    for each in list(cache_folder.entries(_cache())) if key is None else [key]:
        say(f"removed {each} ({cache_folder.remove(_cache(), each) / 1e9:.2f} GB)")


def _root(data_root: str | None) -> Path:
    return Path(Runtime(data_root=data_root).data_root if data_root else Runtime().data_root)


def _cache() -> Path:
    return Path(Runtime().cache)

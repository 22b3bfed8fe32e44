"""How does a name with a colon become a part? `nets.py:GhostNet` or `mypkg.data:Birds`, its arguments beside it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from pathlib import Path as FilePath
from typing import Any, ClassVar

from pydantic import ConfigDict, Field, ValidationError, model_validator
from pydantic_core import InitErrorDetails

from ablation_suite.core.config.errors import OwnPartError
from ablation_suite.core.config.menu import Entry, Frozen
from ablation_suite.core.config.paths import typed
from ablation_suite.core.config.wording import models_in
from ablation_suite.core.own.signature import Signature, read_signature
from ablation_suite.core.own.source import Installed, Source, known, of_file, of_module

Path = tuple[str | int, ...]
_FILE = re.compile(r".+\.py:[^\W\d]\w*")
_DIGEST = re.compile(r"[0-9a-f]{20}")


class Own(Entry):
    """A name with a colon is a part of your own: `nets.py:GhostNet`, or `mypkg.losses:Poly` of a module.

    A file is found from the YAML file that names it (from the current folder, in an override); a module is one that can
    be imported. What the name leads to is called with the further keys of the entry, as in
    `loss: {name: "my_losses.py:Poly", epsilon: 2.0}`, and with those values of the run that it has a name for ("given"
    below). A function that takes the arguments of each call is the part itself.
    The code counts: an edited file, or another one that it imports from its folder, is another run, and the files are
    kept with the run. Of an installed module, the version of its distribution counts.
    Draw from torch's generators where a family says that they are seeded, never from NumPy's or Python's global ones;
    then arms stay paired, and results depend neither on workers nor on where a run was interrupted.
    """

    model_config = ConfigDict(extra="allow")
    given: ClassVar[tuple[str, ...]] = ()
    """Arguments that the run gives by name, to a callable that has them."""
    called: ClassVar[tuple[str, ...]] = ()
    """Arguments of each call: a function that has any of them is the part itself, all others make it."""
    needs: ClassVar[tuple[str, ...]] = ()
    """Numbers that it must have as arguments, since the house reads them."""

    name: str
    """`FILE.py:NAME`, relative to the YAML file that says so, or `MODULE:NAME`."""
    code: str = Field("", repr=False)
    """Which version of the source: set by the suite, from the files' content or the distribution's version."""

    @classmethod
    def parted(cls, name: str) -> tuple[str, str]:
        """What a family writes before the part in its `name`, and what names the part."""
        return "", name

    @property
    def settings(self) -> dict[str, Any]:
        """The arguments that the config sets, defaults included."""
        return dict(self.__pydantic_extra__ or {})

    @property
    def found(self) -> tuple[Source | Installed, str, str]:
        """Its source, and its module and attribute there."""
        return _found(self.parted(self.name)[1], self.code)

    @property
    def signature(self) -> Signature | None:
        """What its callable takes, as far as its source tells."""
        return _signature(*self.found)

    @model_validator(mode="before")
    @classmethod
    def _read(cls, data: Any) -> Any:
        """Find the source, check the arguments against the signature, and put the defaults in."""
        if not isinstance(data, Mapping) or not isinstance(data.get("name"), str):
            return data
        fields = {key: value for key, value in data.items() if key in cls.model_fields}
        settings = {key: value for key, value in data.items() if key not in fields}
        given = [*cls.given, *(key for key in cls.model_fields if key not in ("name", "code"))]
        before, part = cls.parted(data["name"])
        try:
            source, module, attribute = _found(part, data.get("code") or "")
            signature = _signature(source, module, attribute)
        except OwnPartError as error:
            raise _refusal(cls, data, [("", str(error))]) from None
        if signature is not None and signature.is_function:
            given += cls.called
        faults = [(key, "has a value that is no plain text, number, list or mapping") for key in _odd(settings)]
        if signature is not None:
            faults += signature.faults(settings, given, attribute, cls.called)
            settings = signature.filled(settings, given)
        faults += [
            (each, f"{attribute} needs an argument '{each}' that is a number")
            for each in cls.needs
            if not isinstance(settings.get(each), int | float) or isinstance(settings[each], bool)
        ]
        if faults:
            raise _refusal(cls, data, faults)
        name = f"{module}.py:{attribute}" if split_name(part)[2] else part
        return {**fields, "name": before + name, "code": source.code, **settings}


def placed(annotation: Any, data: Any, where: Callable[[Path], str]) -> Any:
    """The data of a config with the files of own parts made absolute, each by the place that says it."""
    return _placed(models_in(annotation), data, where, ())


def absolute(level: Any, where: str) -> Any:
    """A level of a family with the file of an own part made absolute; any other value as it is."""
    if isinstance(level, Mapping) and isinstance(level.get("name"), str) and not level.get("code"):
        return {**level, "name": absolute(level["name"], where)}
    return _absolute(level, where) if isinstance(level, str) and _FILE.fullmatch(level) else level


def own_parts(config: Any) -> Iterator[Own]:
    """Every own part of a config, in its order."""
    if isinstance(config, Own):
        yield config
    inner = vars(config).values() if isinstance(config, Frozen) else config if isinstance(config, tuple) else ()
    for value in inner:
        yield from own_parts(value)


def own_data(config: Any) -> Iterator[Mapping[str, Any]]:
    """Every own part of a config that is plain data, as run.json and records hold it."""
    if isinstance(config, Mapping):
        if isinstance(config.get("name"), str) and ":" in config["name"]:
            yield config
        for value in config.values():
            yield from own_data(value)
    elif isinstance(config, list | tuple):
        for value in config:
            yield from own_data(value)


def has_digest(part: Mapping[str, Any]) -> bool:
    """Whether a part that is plain data is made of files, not of an installed module."""
    return bool(_DIGEST.fullmatch(str(part.get("code", ""))))


def split_name(name: str) -> tuple[str, str, bool]:
    """A part's name as (file or module, attribute, whether the first is a file)."""
    place, _, attribute = name.rpartition(":")
    return place, attribute, place.endswith(".py") or "/" in place


def _placed(models: list[type[Frozen]], data: Any, where: Callable[[Path], str], path: Path) -> Any:
    if isinstance(data, list | tuple):
        return [_placed(models, each, where, (*path, index)) for index, each in enumerate(data)]
    if isinstance(data, str):
        own = next((each for each in models if issubclass(each, Own)), None)
        if own is None:
            return data
        before, part = own.parted(data)
        return before + _absolute(part, where(path))
    if not isinstance(data, Mapping) or not models:
        return data
    found = {}
    for key, value in data.items():
        below = [each for model in models if key in model.model_fields for each in models_in(_type(model, key))]
        is_name = key == "name" and not data.get("code")
        found[key] = _placed(models if is_name else below, value, where, (*path, key))
    return found


def _type(model: type[Frozen], key: str) -> Any:
    return model.model_fields[key].annotation


def _absolute(name: str, where: str) -> str:
    """A name whose file is absolute, by the YAML file of a mark ("file:line"), else from here."""
    place, attribute, is_file = split_name(name)
    if not is_file:
        return name
    said, _, line = where.rpartition(":")
    folder = FilePath(said).parent if line.isdigit() else FilePath()
    return f"{(folder / typed(place)).absolute()}:{attribute}"


def _found(name: str, code: str) -> tuple[Source | Installed, str, str]:
    """The source of a part, and its module and attribute there; OwnPartError where it is not to be had.

    A config that comes with a `code` was read before: its source is what this process was given, never a file that
    happens to lie where the name leads.
    """
    place, attribute, is_file = split_name(name)
    module = FilePath(place).stem if is_file else place
    if not attribute.isidentifier() or (not is_file and not all(map(str.isidentifier, place.split(".")))):
        raise OwnPartError(f"'{name}' is no name of a part; write FILE.py:NAME or MODULE:NAME")
    if "." in module and is_file:
        raise OwnPartError(f"'{name}': a file with a dot in its name cannot be imported; rename it")
    if _DIGEST.fullmatch(code):
        if code not in known:
            raise OwnPartError(f"the code of {name} ({code}) is not here; only a spec that names a file brings it")
        return known[code], module, attribute
    if code and is_file:
        raise OwnPartError("`code` is set by the suite; remove it")
    source = of_file(FilePath(place)) if is_file else of_module(place)
    if code and source.code != code:
        raise OwnPartError(f"{name} is of {code}, and here is {source.code}; install the version that trained")
    return source, module, attribute


@cache
def _signature(source: Source | Installed, module: str, attribute: str) -> Signature | None:
    return read_signature(source, module, attribute)


def _odd(settings: Mapping[str, Any]) -> list[str]:
    """The settings that JSON could not hold."""
    odd = []
    for key, value in settings.items():
        try:
            json.dumps(value, allow_nan=False)
        except (TypeError, ValueError):
            odd.append(key)
    return odd


def _refusal(cls: type[Entry], data: Any, faults: list[tuple[str, str]]) -> ValidationError:
    """The faults as pydantic tells them, each at its key."""
    details = [
        InitErrorDetails(type="value_error", loc=(key,) if key else (), input=data, ctx={"error": ValueError(message)})
        for key, message in faults
    ]
    return ValidationError.from_exception_data(cls.__name__, details)

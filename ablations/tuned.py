"""What did tuning find for each arm, and is it still about these arms? Read only where a spec or `--tuned` asks."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from ablation_suite.ablations.resolve import Arms
from ablation_suite.ablations.spec import CONTROL, Ablation
from ablation_suite.core.config import schema
from ablation_suite.core.config.menu import Frozen, identity_data
from ablation_suite.core.config.run_config import RunConfig, with_settings
from ablation_suite.core.config.schema import Document, Fault, SchemaError
from ablation_suite.core.runs.identity import digest
from ablation_suite.sweeps.progress import as_overrides


class TunedArm(Frozen):
    """What a search found for one arm, and which RunConfig it was found for."""

    study: str
    config: str
    """Digest of the arm's RunConfig without the found values."""
    trial: int
    score: float
    values: dict[str, Any]
    """Dotted path -> setting."""


class Tuned(Frozen):
    """The contents of a file of found values."""

    ablation: str
    date: str
    sweep: str
    trials: int
    metric: str
    objectives: tuple[str, ...] = ()
    """Of several: `metric` is the one in which each arm's point of the front is the best."""
    seeds: tuple[int, ...]
    """Seeds that the trials were trained with; no comparison may use them."""
    overrides: tuple[str, ...] = ()
    """`path=value`, as given to `ablate tune`."""
    arms: dict[str, TunedArm]


def tuned_path(results: Path, ablation: str) -> Path:
    """Where `ablate tune` writes what it found: below the results, so that no spec changes its meaning by it."""
    return results / "tuned" / f"{ablation}.yaml"


def read_tuned(place: Path, ablation: Ablation, arms: Arms) -> Tuned:
    """What tuning found for the arms of an ablation.

    Raises SchemaError where there is no such file, where an arm is missing, where an arm's RunConfig is not the one
    that was tuned, or where a comparison would use a seed of tuning.
    """
    if not place.exists():
        raise SchemaError([Fault(str(place), "", f"no such file; `ablate tune {ablation.source}` finds values")])
    document = schema.load(place)
    tuned = schema.validate(Tuned, document)
    faults = []
    for arm, config in arms.items():
        where = document.where(("arms", arm))
        if arm == CONTROL:
            continue
        if arm not in tuned.arms:
            faults.append(Fault(where, f"arms.{arm}", f"is missing; `ablate tune {ablation.source}` adds it"))
        elif tuned.arms[arm].config != config_digest(config):
            given = " ".join(tuned.overrides) or "no overrides"
            message = f"is stale: the arm's settings are not those that were tuned ({tuned.date}, with {given})"
            faults.append(Fault(where, f"arms.{arm}", message))
    for seed in sorted(set(tuned.seeds) & set(ablation.seeds)):
        faults.append(Fault(ablation.source, "seeds", f"{seed} is a seed of tuning; no arm is compared on it"))
    if faults:
        raise SchemaError(faults)
    return tuned


def tuned_arms(arms: Arms, tuned: Tuned, *, values_of: Literal["own", "baseline"] = "own") -> Arms:
    """The RunConfigs with the found values put in: every arm's own, or those of the baseline for all arms."""
    baseline = next(iter(arms))
    found: Arms = {}
    for arm, config in arms.items():
        values = _values(tuned, arm, baseline, values_of)
        settings = [(path, Document(data=value, source=f"tuned {path}")) for path, value in values.items()]
        found[arm] = schema.validate(RunConfig, with_settings(as_document(config), settings))
    return found


def tuned_variants(place: Path, ablation: Ablation, arms: Arms) -> list[tuple[Ablation, Arms]]:
    """A tuned spec as two ablations: every arm under the baseline's found values, and every arm under its own."""
    tuned = read_tuned(place, ablation, arms)
    variants = []
    kinds: tuple[tuple[Literal["own", "baseline"], str], ...] = (
        ("baseline", "every arm under the values found for the baseline"),
        ("own", "every arm under the values found for itself"),
    )
    for values_of, words in kinds:
        values = {arm: _values(tuned, arm, ablation.baseline, values_of) for arm in arms}
        notes = {arm: f"tuned: {' '.join(as_overrides(found))}" for arm, found in values.items()}
        renamed = ablation.model_copy(
            update={
                "ablation": f"{ablation.ablation}-{values_of}-values",
                "question": f"{ablation.question} ({words})",
                "arms": tuple(arm.model_copy(update={"note": notes[arm.name]}) for arm in ablation.arms),
            }
        )
        variants.append((renamed, tuned_arms(arms, tuned, values_of=values_of)))
    return variants


def _values(tuned: Tuned, arm: str, baseline: str, values_of: Literal["own", "baseline"]) -> dict[str, Any]:
    """The found values that an arm takes; a control is the baseline in all but its seeds."""
    return tuned.arms[arm if values_of == "own" and arm != CONTROL else baseline].values


def config_digest(config: RunConfig) -> str:
    """What a RunConfig is known by in the file, whatever its seed."""
    return digest({name: value for name, value in identity_data(config).items() if name != "seed"})


def as_document(config: RunConfig) -> Document:
    """A RunConfig as the document of a base, which has no seed."""
    return Document(data=config.model_dump(mode="json", exclude={"seed"}), source="arm")

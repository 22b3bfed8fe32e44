"""What did the first steps of some configs say? Plain values, which travel between processes; free of torch."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True)
class FirstStep:
    """Digests of what went in and what came out; tensors by name and shape."""

    order: str
    """The order of the first epoch's images."""
    draws: str
    """The augmentation of the first epoch."""
    changed: str
    """What partners, augmentation and mixing make of many images and steps."""
    initial: dict[str, str]
    """Name and shape of every tensor -> its value before the step."""
    loss: float
    """Of the first step."""
    after: dict[str, str]
    """The same after the last step."""

    def has_effect_against(self, other: FirstStep) -> bool:
        """Whether anything at all differs."""
        return self != other

    def moved_against(self, other: FirstStep) -> list[str]:
        """What two arms should share and do not: batch order, augmentation draws, initial values of equal tensors."""
        moved = [name for name in ("order", "draws") if getattr(self, name) != getattr(other, name)]
        shared = self.initial.keys() & other.initial.keys()
        tensors = sorted(name for name in shared if self.initial[name] != other.initial[name])
        more = f" and {len(tensors) - 3} more" if len(tensors) > 3 else ""
        return moved + ([f"initial values of {', '.join(tensors[:3])}{more}"] if tensors else [])


@dataclass(kw_only=True)
class Tried:
    """What became of the first steps of some configs, by name."""

    steps: dict[str, FirstStep] = field(default_factory=dict)
    broken: dict[str, str] = field(default_factory=dict)
    """Why a config's network or its own parts cannot take a step, in one line."""
    misfits: dict[str, list[str]] = field(default_factory=dict)
    """What the images cannot give -> the configs that ask for it; no step is taken then."""
    groups: list[str] = field(default_factory=list)
    """How many groups the images of each split are, and which lie in several."""
    untried: str = ""
    """Why nothing could be tried, if so."""

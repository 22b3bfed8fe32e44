"""Which figures can a report have, and what does each show? In words alone, so that help need not load what draws."""

from __future__ import annotations

FIGURES = {
    "differences": "The paired difference of each arm with its seeds and, of two or more, its interval; the ground is "
    "what goes unseen.",
    "curves": "Training by epoch, and the paired difference, from three seeds on with bands of 95 % for all epochs and "
    "arms together.",
    "cost": "Differences against the costs that vary.",
    "forest": "Differences in every block of a spec, and over all of them.",
}
SWEEP_FIGURES = {
    "front": "Each two objectives against each other; no complete trial beats one of the front in all of them.",
    "history": "Every trial, and the best so far; triangles at the edge lie beyond it.",
    "slices": "The score against each setting; crosses were stopped early, triangles at the edge lie beyond it.",
    "contour": "The score of the complete trials, interpolated between them, which fewer than 30 hardly allow. "
    "Crosses were stopped early.",
    "importances": "How much each setting matters; lines span 95 % over resampled trials, grey bars have too few.",
    "parallel": "One line per complete trial, coloured by its score.",
    "curves": "What each trial had reached; the grey ones were stopped.",
    "budget": "What a smaller budget would have found.",
}


def list_of_figures() -> str:
    """Every figure by its name, for a terminal."""
    parts = ("Of a spec:", FIGURES), ("Of a sweep:", SWEEP_FIGURES)
    lists = ([whose, *(f"  {name:12} {shows}" for name, shows in known.items())] for whose, known in parts)
    return "\n".join(line for lines in lists for line in lines)

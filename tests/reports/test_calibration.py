"""Do the simulations of the calibration page judge by the very formulas of the reports?"""

import numpy as np
import pytest

from tests.benchmarks.calibration.crossed import check
from tests.benchmarks.calibration.draw import always_wrong, latent


@pytest.mark.parametrize("seeds", [2, 3, 6])
@pytest.mark.parametrize("arms", [2, 4])
def test_the_simulated_intervals_are_the_reported_ones(seeds, arms):
    """Ends, p and p of a margin of every arm agree; `check` raises where they do not."""
    check(latent(seeds, 40, [0.1] * arms, [0.9] * arms), np.random.default_rng([seeds, arms]), repetitions=8)


def test_so_are_those_of_arms_that_hardly_differ():
    check(always_wrong(3, 30, 0.05, 1.0), np.random.default_rng(0), repetitions=8)

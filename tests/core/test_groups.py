"""Do images that belong together count as one, by the names of their files?"""

import numpy as np
import pytest

from ablation_suite.core.data.groups import groups_of, summed


@pytest.mark.parametrize(
    ("rule", "names", "expected"),
    [
        ("{plant}_*.jpg", ["a/p1_01.jpg", "a/p2_01.jpg", "b/p1_02.jpg"], [0, 1, 0]),
        ("{plant}_*.jpg", ["p1_x_1.jpg", "p1_y_2.jpg", "p1.jpg", "p1_a.png", "p1_b.png"], [0, 0, 1, 2, 3]),
        ("{plant}_{day}_*.jpg", ["p1_3_a.jpg", "p1_3_b.jpg", "p1_4_a.jpg"], [0, 0, 1]),
        ("{site}/*_{plant}.png", ["x/1_p.png", "y/1_p.png", "x/2_p.png"], [0, 1, 0]),
        ("{scan}.*", ["[a].png", "[a].jpg", "a.png"], [0, 0, 1]),
    ],
)
def test_the_rule_reads_the_name_of_the_file_or_the_whole_path(rule, names, expected):
    """What stands in braces tells groups apart; names that do not fit are groups of one; signs of patterns are text."""
    assert groups_of(tuple(names), rule).tolist() == expected


def test_the_sums_of_groups_have_the_mean_of_the_images():
    """Groups of one, two and three images: sums by hand, times three groups over six images."""
    found = summed(np.array([1.0, 0.0, 1.0, 1.0, 1.0, 0.0]), np.array([0, 1, 1, 2, 2, 2]))
    assert found.tolist() == [0.5, 0.5, 1.0]
    assert found.mean() == pytest.approx(4 / 6)

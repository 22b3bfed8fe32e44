"""Do images that belong together count as one, by the names of their files?"""

import numpy as np
import pytest

from ablation_suite.core.data.groups import faults, groups_of, in_words, summed


@pytest.mark.parametrize(
    ("rule", "names", "expected"),
    [
        ("{plant}_*.jpg", ["a/p1_01.jpg", "a/p2_01.jpg", "b/p1_02.jpg"], [0, 1, 0]),
        ("{plant}_*.jpg", ["a/p1_01", "a/p2_01", "b/p1_02"], [0, 1, 0]),
        ("{plant}_*.jpg", ["p1_x_1.jpg", "p1_y_2.jpg", "p1.jpg", "p1_a.png", "x"], [0, 0, 1, 0, 2]),
        ("{plant}_{day}_*.jpg", ["p1_3_a.jpg", "p1_3_b.jpg", "p1_4_a.jpg"], [0, 0, 1]),
        ("{site}/*_{plant}.png", ["x/1_p.png", "y/1_p.png", "x/2_p.png"], [0, 1, 0]),
        ("{scan}.*", ["[a].png", "[a].jpg", "a.png"], [0, 0, 1]),
    ],
)
def test_the_rule_reads_the_name_of_the_file_or_the_whole_path(rule, names, expected):
    """What stands in braces tells groups apart, whatever the extension, which data sets leave off; names that do not
    fit are groups of one; signs of patterns are text."""
    assert groups_of(tuple(names), rule).tolist() == expected


def test_the_sums_of_groups_have_the_mean_of_the_images():
    """Groups of one, two and three images: sums by hand, times three groups over six images."""
    found = summed(np.array([1.0, 0.0, 1.0, 1.0, 1.0, 0.0]), np.array([0, 1, 1, 2, 2, 2]))
    assert found.tolist() == [0.5, 0.5, 1.0]
    assert found.mean() == pytest.approx(4 / 6)


def test_a_group_that_lies_in_two_splits_is_told():
    """By hand: plant 2 was trained on and is tested, in another class folder; plant 1 is seen in training alone."""
    names = {"train": ("rose/1_a", "rose/1_b", "rose/2_a"), "val": ("rose/3_a",), "test": ("tulip/2_b", "rose/odd")}
    assert in_words(names, "{plant}_*.jpg") == [
        "train: 3 images in 2 groups",
        "val: 1 images in 1 groups",
        "test: 2 images in 2 groups, 1 of them images that do not fit",
        "1 groups lie in train and in test, so that test asks for what train has shown: 2",
    ]


def test_a_rule_that_fits_nothing_that_is_evaluated_is_a_fault():
    """It would leave each image alone although groups were asked for."""
    names = {"train": ("a1",), "val": ("p_1",), "test": ("t-1", "t-2")}
    assert faults(names, "{plant}_*.jpg") == ["groups: {plant}_*.jpg fits no image of test, whose names are like t-1"]
    assert faults(names | {"test": ("t_1",)}, "{plant}_*.jpg") == []

"""Is FAULTS.md what the tests hold?"""

from __future__ import annotations

from tests.faults import LEAST, PAGE, marked, page


def test_the_page_is_what_the_marks_say():
    """`python -m tests.faults` would change nothing."""
    assert PAGE.read_text(encoding="utf-8") == page(marked())


def test_there_are_sixty_faults_each_with_a_name_of_its_own():
    """And each says how it is injected and what is promised."""
    faults = marked()
    assert len(faults) >= LEAST
    assert len({fault.name for fault in faults}) == len(faults)
    assert all(fault.injected and fault.promised for fault in faults)


def test_a_mark_is_read_with_what_its_test_needs(tmp_path):
    """By hand: two marks on one test, one of them with a bar in its words; a test without a mark is no fault."""
    (tmp_path / "test_it.py").write_text(
        '"""Is it so?\n\nAnd more."""\n'
        '@pytest.mark.fault("a", injected="i | j", promised="p")\n'
        '@pytest.mark.fault("b", injected="k", promised="q")\n'
        '@pytest.mark.skipif(True, reason="needs root")\n'
        "def test_one(): ...\n"
        "def test_two(): ...\n"
    )
    assert page(marked(tmp_path)).partition("## ")[2].splitlines() == [
        "Is it so?",
        "",
        "| fault | injected | promised | held by |",
        "| --- | --- | --- | --- |",
        "| a | i \\| j (needs root) | p | `test_it.py::test_one` |",
        "| b | k (needs root) | q | `test_it.py::test_one` |",
    ]

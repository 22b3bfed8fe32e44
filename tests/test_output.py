"""What becomes of what is printed, where nobody can read it? Full, closed and broken streams of real processes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

HOUSE = Path(__file__).parents[1]


def shell(line, cwd, **environment):
    """A line of a shell, in which $ablate is the program."""
    programs = {"ablate": f"{sys.executable} -m ablation_suite.cli", "python": sys.executable, "PYTHONPATH": str(HOUSE)}
    env = {**os.environ, **programs, **environment}
    return subprocess.run(["bash", "-c", line], cwd=cwd, env=env, capture_output=True, text=True, timeout=60)


@pytest.mark.fault(
    "an output that is full", injected="/dev/full as standard output", promised="one line and exit status 2"
)
@pytest.mark.parametrize("words", ["menu", "status", "menu --help"])
def test_an_output_that_cannot_be_written_is_one_line(words, tmp_path):
    """An answer that is lost is never a success, however short it is."""
    result = shell(f"$ablate {words} >/dev/full", tmp_path)
    assert (result.returncode, result.stderr) == (2, "the output cannot be written: No space left on device\n")


@pytest.mark.fault(
    "a reader who leaves",
    injected="a pipe that `true` reads, as standard output or as both",
    promised="the program ends without a word, with the status of SIGPIPE (141)",
)
@pytest.mark.parametrize("pipe", ["|", "|&"])
def test_a_reader_who_leaves_ends_the_program_without_a_word(pipe, tmp_path):
    """As `ablate menu | head -1` does."""
    result = shell(f"$ablate menu {pipe} true; exit $PIPESTATUS", tmp_path)
    assert (result.returncode, result.stdout, result.stderr) == (141, "", "")


@pytest.mark.fault(
    "progress that nobody can read",
    injected="/dev/full as standard error",
    promised="the work goes on, and its answer comes",
)
def test_what_is_told_beside_the_work_may_be_lost(tmp_path):
    """A grid must not end since its log or its terminal did."""
    code = (
        "from ablation_suite import output; output.prepare();"
        "from ablation_suite.core.scheduling.console import Display;"
        "display = Display(); display.line('one'); display.line('two'); print('done')"
    )
    result = shell(f'$python -c "{code}" 2>/dev/full', tmp_path)
    assert (result.returncode, result.stdout) == (0, "done\n")


@pytest.mark.fault(
    "standard streams that are closed",
    injected="all three closed by the shell that starts the program",
    promised="what is printed is lost and the exit status is as ever; no file of ours gets the number of a stream",
)
def test_a_closed_stream_leads_nowhere(tmp_path):
    """The numbers 0 to 2 are taken, so that a library that prints cannot write into a record."""
    code = (
        "import os; from ablation_suite import output; output.prepare();"
        "assert os.open('record', os.O_CREAT | os.O_WRONLY) > 2; print('lost'); os.write(1, b'lost')"
    )
    result = shell(f'$python -c "{code}" <&- >&- 2>&-', tmp_path)
    assert result.returncode == 0
    assert (tmp_path / "record").read_bytes() == b""
    assert shell("$ablate nosuch <&- >&- 2>&-", tmp_path).returncode == 2


@pytest.mark.fault(
    "letters that the terminal's encoding lacks",
    injected="PYTHONIOENCODING=latin-1 and a file named Ω",
    promised="they are spelled out",
)
def test_letters_that_an_encoding_lacks_are_spelled_out(tmp_path):
    """In errors and in answers alike."""
    result = shell("$ablate check Ω.yaml", tmp_path, PYTHONIOENCODING="latin-1")
    assert (result.returncode, result.stderr.partition(":")[0]) == (2, r"\u03a9.yaml")
    code = "from ablation_suite import output; output.prepare(); print('Ω')"
    assert shell(f'$python -c "{code}"', tmp_path, PYTHONIOENCODING="latin-1").stdout == "\\u03a9\n"


@pytest.mark.fault(
    "orders to a terminal in a run folder from elsewhere",
    injected="ESC, BEL and U+202E as the name of an arm, of a class, of an own part and of a folder",
    promised="spelled out by every verb that prints them",
)
@pytest.mark.parametrize("words", ["status", "show a", "reproduce a", "sync a --tracker tensorboard", "cancel a"])
def test_no_run_folder_gives_orders_to_the_terminal(words, tmp_path):
    """Of each verb, in answers and errors."""
    evil = "\x1b[2Jevil\u202e\x07"
    folder = tmp_path / "results/runs" / f"a{evil}"
    folder.mkdir(parents=True)
    labels = {"arm": evil, "group": evil, "name": evil, "spec": evil, "overrides": [evil], "seed": 0, "project": evil}
    job = {"run_id": evil, "config": {"data": {"name": evil}, "epochs": 1}, "data_fingerprint": evil, "labels": labels}
    (folder / "run.json").write_text(json.dumps(job))
    result = shell(f"$ablate {words}", tmp_path)
    said = result.stdout + result.stderr
    assert "Traceback" not in said
    assert not {"\x1b", "\x07", "\u202e"} & set(said), said
    assert "evil" in said or words.startswith("cancel")

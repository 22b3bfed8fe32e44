"""Does a checkpoint count only when every bit of it is right?"""

from __future__ import annotations

import os

import pytest
import torch

from ablation_suite.core.training import checkpoint

CPU = torch.device("cpu")


def state(number: int) -> dict:
    return {"values": torch.full((1000,), float(number)), "number": number}


def flip(path, position: int) -> None:
    data = bytearray(path.read_bytes())
    data[position] ^= 1
    path.write_bytes(data)


def test_the_last_two_states_are_kept_and_the_newest_is_loaded(tmp_path):
    """After five saves two files are left, each with its sum."""
    folder = tmp_path / "checkpoints"
    for number in range(5):
        checkpoint.save(folder, number, state(number))
    assert sorted(path.name for path in folder.iterdir()) == [
        f"{number:012d}.{suffix}" for number in (3, 4) for suffix in ("pt", "sha256")
    ]
    assert checkpoint.load(folder, CPU)["number"] == 4


@pytest.mark.fault(
    "a flipped bit in the newest checkpoint",
    injected="one bit at several places of the file",
    promised="it is not trusted; the state before it is loaded",
)
@pytest.mark.parametrize("share", [0.0, 0.3, 0.6, 0.999])
def test_a_flipped_bit_anywhere_sends_the_run_to_the_state_before(share, tmp_path):
    """torch would load most of these files without a word; the damaged file is removed."""
    for number in (1, 2):
        checkpoint.save(tmp_path, number, state(number))
    newest = tmp_path / "000000000002.pt"
    flip(newest, int(share * newest.stat().st_size))
    assert checkpoint.load(tmp_path, CPU)["number"] == 1
    assert not newest.exists()


def test_a_damaged_state_does_not_count_as_the_good_one_before_the_newest(tmp_path):
    """After a return to state 1, saving state 3 leaves 1 and 3, so that damage to 3 is survived too."""
    for number in (1, 5):
        checkpoint.save(tmp_path, number, state(number))
    flip(tmp_path / "000000000005.pt", 100)
    checkpoint.load(tmp_path, CPU)
    checkpoint.save(tmp_path, 3, state(3))
    flip(tmp_path / "000000000003.pt", 100)
    assert checkpoint.load(tmp_path, CPU)["number"] == 1


@pytest.mark.fault(
    "a checkpoint cut short or without its sum", injected="truncated file, removed sum", promised="it does not count"
)
def test_a_state_without_its_sum_or_cut_short_does_not_count(tmp_path):
    """Both are what a kill between two file operations leaves behind."""
    for number in (1, 2, 3):
        checkpoint.save_verified(tmp_path / f"{number:012d}.pt", state(number))
    (tmp_path / "000000000003.sha256").unlink()
    with open(tmp_path / "000000000002.pt", "r+b") as file:
        file.truncate(500)
    assert checkpoint.load(tmp_path, CPU)["number"] == 1
    (tmp_path / "000000000001.sha256").write_text("0" * 64)
    assert checkpoint.load(tmp_path, CPU) is None


@pytest.mark.fault(
    "a disk that changes what is written",
    injected="a byte changed behind the writer",
    promised="noticed when it is read back; the state before stays",
)
def test_a_disk_that_changes_a_byte_is_noticed_and_the_state_before_stays(tmp_path, monkeypatch):
    """The sum is of what was given to the disk, so that a wrong byte under way cannot hide in it."""
    checkpoint.save(tmp_path, 1, state(1))
    checkpoint.save(tmp_path, 2, state(2))

    def corrupting(source, target, replace=os.replace):
        if str(target).endswith(".pt"):
            flip(source, 200)
        replace(source, target)

    monkeypatch.setattr(os, "replace", corrupting)
    with pytest.raises(OSError, match="reads otherwise than it was written"):
        checkpoint.save(tmp_path, 3, state(3))
    assert checkpoint.load(tmp_path, CPU)["number"] == 2


@pytest.mark.fault(
    "a checkpoint whose write fails",
    injected="torch.save raises half-way",
    promised="the old state stays, and no temporary file",
)
def test_a_write_that_fails_leaves_the_old_state_and_no_rubbish(tmp_path, monkeypatch):
    """A full disk, say: torch.save raises half-way."""
    checkpoint.save(tmp_path, 1, state(1))

    def full(value, file):
        file.write(b"half of it")
        raise RuntimeError("no space left on device")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(RuntimeError, match="no space"):
        checkpoint.save(tmp_path, 1, state(1))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["000000000001.pt", "000000000001.sha256"]
    assert checkpoint.load(tmp_path, CPU)["number"] == 1


def test_sweeping_removes_what_a_kill_left_and_nothing_else(tmp_path):
    """Temporary files of checkpoints and best weights go; the best weights and a driver's own files stay."""
    (tmp_path / "checkpoints").mkdir()
    kept = {"best-0001.pt", "best-0001.sha256", ".run.json.77", "checkpoints/000000000001.pt"}
    rubbish = {".best-0002.pt.77", ".best-0002.sha256.77", "checkpoints/.000000000002.pt.77"}
    for name in kept | rubbish:
        (tmp_path / name).touch()
    checkpoint.sweep(tmp_path)
    found = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    assert found == kept


class Code:
    def __reduce__(self):
        return os.mkdir, ("executed",)


@pytest.mark.fault("code in a checkpoint", injected="a pickle that would run it", promised="refused, never run")
def test_code_in_a_checkpoint_is_never_run(tmp_path, monkeypatch):
    """A pickle that would make a folder is refused, although its sum is right."""
    monkeypatch.chdir(tmp_path)
    checkpoint.save_verified(tmp_path / "000000000001.pt", {"evil": Code()})
    with pytest.raises(checkpoint.Damaged, match=r"000000000001\.pt holds more than tensors"):
        checkpoint.load(tmp_path, CPU)
    checkpoint.save_verified(tmp_path / "best-0001.pt", Code())
    with pytest.raises(checkpoint.Damaged, match=r"best-0001\.pt holds more than tensors"):
        checkpoint.read_verified(tmp_path / "best-0001.pt", CPU)
    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize("values", [{"weight": torch.zeros(3, 3)}, {"other": torch.zeros(2, 2)}, [1], 3])
def test_weights_of_another_network_are_refused_by_name(tmp_path, values):
    """A record and weights that came from elsewhere need not belong together."""
    path = tmp_path / "best-0001.pt"
    checkpoint.save_verified(path, values)
    with pytest.raises(checkpoint.Damaged, match=r"best-0001\.pt does not hold the weights of this network"):
        checkpoint.read_kept(torch.nn.Linear(2, 2, bias=False), path, CPU)


def test_lost_or_damaged_weights_are_refused_by_name(tmp_path):
    """`read_verified` names the file."""
    path = tmp_path / "best-0001.pt"
    checkpoint.save_verified(path, state(1))
    assert checkpoint.read_verified(path, CPU)["number"] == 1
    flip(path, 300)
    with pytest.raises(checkpoint.Damaged, match=r"best-0001\.pt is lost or damaged"):
        checkpoint.read_verified(path, CPU)

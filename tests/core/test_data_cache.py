"""Is every image decoded once, and is nothing but a whole cache ever taken for one?"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from ablation_suite.cli import ablate
from ablation_suite.core.data import Form, cache, cache_folder, file_hashes, parallel
from ablation_suite.core.data.cache import Decoded, decoded
from ablation_suite.core.data.dataset import DataError
from ablation_suite.core.data.decode import Unreadable
from ablation_suite.core.data.views import OnTheFly, Rows

FINGERPRINT = "0123456789abcdef" * 4


class Painted:
    """Image i is filled with the value i; those in `broken` are unreadable. It counts how often it decodes."""

    def __init__(self, count: int, size: int = 4, broken: frozenset[int] = frozenset()):
        self.count, self.form, self.broken = count, Form(size), broken
        self.decoded: list[int] = []

    def __len__(self) -> int:
        return self.count

    def __call__(self, index: int) -> tuple[np.ndarray, int]:
        self.decoded.append(index)
        if index in self.broken:
            raise Unreadable("painted over")
        return np.full((self.form.size, self.form.size, 3), index % 256, np.uint8), index % 7


def build(place: Path, train: Painted | None = None, **settings: object) -> dict[str, Decoded]:
    decoders = {"train": train or Painted(100), "val": Painted(20)}
    return decoded(place, FINGERPRINT, decoders, title="painted", **settings)  # type: ignore[arg-type]


def files(place: Path) -> list[str]:
    """All decoded data sets, without the locks."""
    return sorted(path.name for path in (place / "decoded").iterdir() if path.name != ".locks")


def test_the_second_use_decodes_nothing(tmp_path: Path) -> None:
    """The first use decodes each image once, into a read-only map of the disk; the second gives the same at once."""
    first = Painted(100)
    found = build(tmp_path, first)["train"]
    assert sorted(first.decoded) == list(range(100))
    second = Painted(100)
    again = build(tmp_path, second)["train"]
    assert second.decoded == []
    for each in (found, again):
        assert isinstance(each.images, np.memmap)
        assert each.images.shape == (100, 4, 4, 3)
        assert each.images.dtype == np.uint8
        np.testing.assert_array_equal(each.images[:, 0, 0, 0], np.arange(100))
        np.testing.assert_array_equal(each.labels, np.arange(100) % 7)
        with pytest.raises(ValueError, match="read-only"):
            each.images[0] = 1


def test_another_size_or_content_is_another_cache(tmp_path: Path) -> None:
    """Keys differ in fingerprint and size, so neither is mistaken for the other."""
    build(tmp_path)
    decoded(tmp_path, FINGERPRINT, {"train": Painted(100, size=5)}, title="larger")
    decoded(tmp_path, "f" * 64, {"train": Painted(100)}, title="other")
    assert len(files(tmp_path)) == 3


def test_unreadable_images_are_remembered_with_their_reason(tmp_path: Path) -> None:
    """They are black rows, and the second use knows them without decoding."""
    build(tmp_path, Painted(100, broken=frozenset({3, 50})))
    found = build(tmp_path)["train"]
    assert found.unreadable == {3: "painted over", 50: "painted over"}
    assert not found.images[[3, 50]].any()


def test_past_the_limit_images_are_decoded_on_the_fly(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """They have the same pixels, labels and unreadable list, no array on disk, and a line says why."""
    broken = frozenset({3})
    stored = build(tmp_path / "a", Painted(100, broken=broken))["train"]
    monkeypatch.setenv("ABLATE_CACHE_LIMIT_GB", "0.000001")
    found = build(tmp_path / "b", Painted(100, broken=broken))["train"]
    assert "ABLATE_CACHE_LIMIT_GB is 1e-06" in capsys.readouterr().err
    assert isinstance(found.images, OnTheFly)
    assert not list((tmp_path / "b").rglob("train.npy"))
    assert found.unreadable == stored.unreadable
    np.testing.assert_array_equal(found.labels, stored.labels)
    for index in (np.array([7, 5, 7, 99]), slice(90, None), 12, np.array([], np.int64), np.array([-1])):
        np.testing.assert_array_equal(found.images[index], stored.images[index])
    again = Painted(100, broken=broken)
    build(tmp_path / "b", again)
    assert again.decoded == []


def test_the_limit_holds_for_all_caches_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """5,760 bytes fit once below 10,000; a second data set of that size does not until the first is removed."""
    monkeypatch.setenv("ABLATE_CACHE_LIMIT_GB", "1e-5")
    assert isinstance(build(tmp_path)["train"].images, np.memmap)
    second = {"train": Painted(120)}
    assert isinstance(decoded(tmp_path, "f" * 64, second, title="second")["train"].images, OnTheFly)
    for key in (key for key, entry in cache_folder.entries(tmp_path).items() if entry and entry["stored"]):
        cache_folder.remove(tmp_path, key)
    assert isinstance(decoded(tmp_path, "f" * 64, second, title="second")["train"].images, np.memmap)


def test_a_limit_that_is_no_number_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error names the variable."""
    monkeypatch.setenv("ABLATE_CACHE_LIMIT_GB", "lots")
    with pytest.raises(DataError, match="ABLATE_CACHE_LIMIT_GB: 'lots'"):
        build(tmp_path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_cache_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    """The error names ABLATE_CACHE."""
    tmp_path.chmod(0o500)
    with pytest.raises(DataError, match="ABLATE_CACHE"):
        build(tmp_path)


@pytest.mark.fault("a cache folder that is a file", injected="a file in its place", promised="one line that names it")
def test_a_cache_folder_that_is_a_file_is_named(tmp_path: Path) -> None:
    """The error names the path and ABLATE_CACHE."""
    (tmp_path / "decoded").write_text("in the way")
    with pytest.raises(DataError, match=r"decoded: cannot be written.*ABLATE_CACHE"):
        build(tmp_path)


@pytest.mark.fault(
    "a full disk under the cache",
    injected="a write that is not taken whole",
    promised="one line with what to do; nothing is left",
)
def test_a_full_disk_says_so_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A write that the disk does not take whole is an error with three ways out, never a cache with holes."""
    monkeypatch.setattr(os, "pwrite", lambda file, data, offset: len(data) - 1)
    with pytest.raises(DataError, match=r"No space left.*ABLATE_CACHE.*ABLATE_CACHE_LIMIT_GB=0"):
        build(tmp_path)
    assert files(tmp_path) == []


KILLED = """
import os, sys, signal
sys.path.insert(0, {tests!r})
from pathlib import Path
from test_data_cache import Painted, build
def progress(done, total):
    if done >= {after}:
        print("half", flush=True)
        signal.pause()
build(Path({cache!r}), Painted(2000), progress=progress)
"""


@pytest.mark.fault(
    "a kill while images are decoded",
    injected="SIGKILL after some images",
    promised="no cache is left that could be taken for whole",
)
@pytest.mark.parametrize("after", [1, 2000])
def test_a_killed_build_leaves_nothing_that_could_be_taken_for_a_cache(tmp_path: Path, after: int) -> None:
    """After SIGKILL, early or once a whole split is written, the next use builds anew and clears the remains away."""
    code = KILLED.format(tests=str(Path(__file__).parent), cache=str(tmp_path), after=after)
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    assert process.stdout.readline() == b"half\n"
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    (left,) = files(tmp_path)
    assert left.startswith(".")
    assert cache_folder.entries(tmp_path) == {}
    whole = Painted(2000)
    found = build(tmp_path, whole)
    assert len(whole.decoded) == 2000
    np.testing.assert_array_equal(found["train"].images[:, 0, 0, 0], np.arange(2000) % 256)
    assert files(tmp_path) == list(cache_folder.entries(tmp_path))


def test_remains_of_other_data_sets_are_cleared_unless_somebody_is_building_them(tmp_path: Path) -> None:
    """A temporary folder whose lock is held stays, one whose builder is gone does not."""
    place = cache_folder.decoded_folder(tmp_path)
    (place / ".gone-x1").mkdir()
    (place / ".busy-x2").mkdir()
    with cache_folder.writing(tmp_path, "busy"):
        (place / ".busy-x3").mkdir()
        build(tmp_path)
        assert files(tmp_path)[0] == ".busy-x3"
        assert ".gone-x1" not in files(tmp_path)


def test_a_damaged_cache_is_built_anew(tmp_path: Path) -> None:
    """A cut array, a broken manifest and a missing file are noticed on opening."""
    build(tmp_path)
    (key,) = cache_folder.entries(tmp_path)
    place = tmp_path / "decoded" / key
    for damage in (
        lambda: os.truncate(place / "train.npy", 1000),
        lambda: (place / "manifest.json").write_text("{"),
        lambda: (place / "val.labels.npy").unlink(),
    ):
        damage()
        painted = Painted(100)
        np.testing.assert_array_equal(build(tmp_path, painted)["train"].images[:, 0, 0, 0], np.arange(100))
        assert len(painted.decoded) == 100
    assert files(tmp_path) == [key]


@pytest.mark.fault(
    "a flipped byte in a decoded cache",
    injected="one byte of an array, the labels or the manifest",
    promised="never given out; decoded anew, and told",
)
@pytest.mark.parametrize("name", ["train.npy", "val.npy", "train.labels.npy", "manifest.json"])
def test_a_flipped_byte_is_never_given_out(tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Wherever one byte of a cache changes, its images are decoded anew, and one line says so."""
    build(tmp_path, Painted(100, broken=frozenset({7})))
    (key,) = cache_folder.entries(tmp_path)
    path = tmp_path / "decoded" / key / name
    data = bytearray(path.read_bytes())
    place = data.index(b'"7"') + 1 if name == "manifest.json" else len(data) - 2
    data[place] ^= 1
    path.write_bytes(data)
    painted = Painted(100, broken=frozenset({7}))
    found = build(tmp_path, painted)
    assert len(painted.decoded) == 100
    assert found["train"].unreadable == {7: "painted over"}
    np.testing.assert_array_equal(found["train"].images[8:, 0, 0, 0], np.arange(8, 100))
    np.testing.assert_array_equal(found["val"].images[:, 3, 3, 2], np.arange(20))
    assert found["train"].labels[99] == 99 % 7
    (line,) = capsys.readouterr().err.splitlines()
    assert str(path.parent) in line
    assert "decoded anew" in line


@pytest.mark.fault(
    "a flipped bit in the header of a decoded array",
    injected="one bit of each byte before the pixels or the labels",
    promised="never read by NumPy; decoded anew, and told",
)
@pytest.mark.parametrize("name", ["val.npy", "val.labels.npy"])
def test_a_flipped_bit_in_a_header_never_reaches_numpy(
    tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A bracket that is missing, another type, another shape: each is a damaged file, and no error of a parser."""
    build(tmp_path)
    (key,) = cache_folder.entries(tmp_path)
    path = tmp_path / "decoded" / key / name
    whole = path.read_bytes()
    for place in range(128):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1 << place % 7]) + whole[place + 1 :])
        np.testing.assert_array_equal(build(tmp_path)["val"].images[:, 3, 3, 2], np.arange(20))
        assert path.read_bytes() == whole
        assert "decoded anew" in capsys.readouterr().err


@pytest.mark.fault(
    "a pipe, a device or a folder in the place of a decoded array",
    injected="mkfifo, a link to /dev/zero, mkdir",
    promised="decoded anew, and told; nothing waits",
)
@pytest.mark.parametrize("name", ["train.npy", "train.labels.npy", cache_folder.MANIFEST])
@pytest.mark.parametrize(
    "put", [os.mkfifo, os.mkdir, lambda path: path.symlink_to("/dev/zero")], ids=["pipe", "folder", "device"]
)
def test_what_is_no_file_is_decoded_anew(
    tmp_path: Path, name: str, put: Callable[[Path], None], capsys: pytest.CaptureFixture[str]
) -> None:
    """Nobody writes into the pipe, and the device never ends."""
    build(tmp_path)
    (key,) = cache_folder.entries(tmp_path)
    path = tmp_path / "decoded" / key / name
    path.unlink()
    put(path)
    np.testing.assert_array_equal(build(tmp_path)["train"].images[:, 0, 0, 0], np.arange(100))
    assert "decoded anew" in capsys.readouterr().err


@pytest.mark.fault(
    "a damaged manifest of another data set in the cache",
    injected="each kind of change to its number of bytes, which is still JSON",
    promised="it costs that data set alone: others are decoded, `data cache list` names it, and `remove` removes it",
)
@pytest.mark.parametrize("change", [('"num_bytes"', '"num_bytet"'), ('"num_bytes": 5', '"num_bytes": 1e999, "x": 5')])
def test_a_damaged_manifest_costs_its_data_set_alone(
    tmp_path: Path, change: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the cache holds is counted before anything is decoded."""
    build(tmp_path)
    (key,) = cache_folder.entries(tmp_path)
    path = tmp_path / "decoded" / key / cache_folder.MANIFEST
    before = path.read_text()
    path.write_text(before.replace(*change))
    assert path.read_text() != before
    other = decoded(tmp_path, FINGERPRINT[::-1], {"train": Painted(3)}, title="other")
    assert len(other["train"].images) == 3
    monkeypatch.setenv("ABLATE_CACHE", str(tmp_path))
    listed = CliRunner().invoke(ablate, ["data", "cache", "list"], catch_exceptions=False).output
    assert f"{key}  damaged" in listed
    assert "3 images" in listed
    removed = CliRunner().invoke(ablate, ["data", "cache", "remove", key], catch_exceptions=False)
    assert removed.exit_code == 0
    assert [key not in name for name in files(tmp_path)] == [True]


def test_every_block_of_an_array_is_verified(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A flipped byte in the first, a middle and the last of many blocks is noticed."""
    monkeypatch.setattr(cache, "BLOCK", 500)
    build(tmp_path)
    (key,) = cache_folder.entries(tmp_path)
    path = tmp_path / "decoded" / key / "train.npy"
    for place in (130, 2600, path.stat().st_size - 1):
        data = bytearray(path.read_bytes())
        data[place] ^= 0x80
        path.write_bytes(data)
        painted = Painted(100)
        build(tmp_path, painted)
        assert len(painted.decoded) == 100


def test_a_process_verifies_a_cache_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first opening reads all four files whole; later ones only look whether they are still the same files."""
    build(tmp_path)
    cache._verified.clear()
    read: list[Path] = []
    real = cache._digests
    monkeypatch.setattr(cache, "_digests", lambda path: read.append(path) or real(path))
    for _ in range(3):
        build(tmp_path)
    assert sorted(path.name for path in read) == ["train.labels.npy", "train.npy", "val.labels.npy", "val.npy"]


def test_a_cache_of_a_version_without_digests_is_decoded_anew(tmp_path: Path) -> None:
    """Nobody knows whether it is what was decoded."""
    build(tmp_path)
    (path,) = (tmp_path / "decoded").glob("*/manifest.json")
    found = json.loads(path.read_text())
    path.write_text(json.dumps({key: value for key, value in found.items() if key not in ("blocks", "digest")}))
    painted = Painted(100)
    build(tmp_path, painted)
    assert len(painted.decoded) == 100


@pytest.mark.fault("two users, one cache", injected="another umask", promised="shared files follow it")
def test_files_of_a_cache_are_as_shared_as_the_umask_says(tmp_path: Path) -> None:
    """With umask 002 a group may read and write all of it: folders 775, files 664, those of the digests as well."""
    before = os.umask(0o002)
    try:
        build(tmp_path / "cache")
        (tmp_path / "x").write_bytes(b"x")
        file_hashes.digests(tmp_path, ["x"], tmp_path / "cache", title="x")
    finally:
        os.umask(before)
    for path in (tmp_path / "cache").rglob("*"):
        assert path.stat().st_mode & 0o777 == (0o775 if path.is_dir() else 0o664), path


AS_NOBODY = """
import os, sys
sys.path[:0] = {path!r}
from pathlib import Path
from test_data_cache import Painted, build, cache_folder
with cache_folder._lock(Path({cache!r}) / "decoded", "another", wait=False):
    print("locked")
painted = Painted({count})
try:
    found = build(Path({cache!r}), painted)["train"]
    print(len(painted.decoded), found.images[99, 0, 0, 0])
except Exception as error:
    print(type(error).__name__, str(error).splitlines())
"""


def as_nobody(another_user: list[str], place: Path, count: int = 100) -> list[str]:
    """What another user, who may write nothing of ours, gets from a cache."""
    for folder in [place, *place.parents]:
        if folder.is_relative_to("/tmp") and folder != Path("/tmp"):
            folder.chmod(0o755)
    code = AS_NOBODY.format(path=[str(Path(__file__).parent), *sys.path], cache=str(place), count=count)
    run = subprocess.run(
        [*another_user, sys.executable, "-c", code],
        capture_output=True,
        text=True,
        cwd="/",
        env={"HOME": "/nonexistent"},
    )
    assert run.returncode == 0, run.stderr
    return run.stdout.splitlines()


@pytest.mark.fault("a prepared cache that may only be read", injected="setpriv to another user", promised="it serves")
def test_a_cache_that_may_only_be_read_serves_every_user(tmp_path: Path, another_user: list[str]) -> None:
    """Another user finds all decoded, may take a lock that we made, and is told what to set where he would write."""
    before = os.umask(0o022)
    try:
        build(tmp_path)
        (tmp_path / "decoded" / ".locks" / "another").touch()
    finally:
        os.umask(before)
    assert as_nobody(another_user, tmp_path) == ["locked", "0 99"]
    locked, refused = as_nobody(another_user, tmp_path, count=99)
    assert locked == "locked"
    assert refused.startswith("DataError")
    assert "ABLATE_CACHE" in refused


@pytest.mark.fault(
    "a cache on a file system without locks", injected="flock fails", promised="it is built all the same"
)
def test_a_file_system_without_locks_is_built_on_all_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The rename makes a cache whole; what others may still be building is left alone."""

    def unsupported(*_: object) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", unsupported)
    (cache_folder.decoded_folder(tmp_path) / ".busy-x2").mkdir()
    np.testing.assert_array_equal(build(tmp_path)["train"].images[:, 0, 0, 0], np.arange(100))
    assert files(tmp_path)[0] == ".busy-x2"


def test_a_tenth_of_the_free_disk_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """5,760 bytes are stored where 6,400 are free (nine tenths are exactly as many), and not where 6,399 are."""
    for free, kind in ((6399, OnTheFly), (6400, np.memmap)):
        usage = shutil._ntuple_diskusage(10**12, 10**12 - free, free)
        monkeypatch.setattr(shutil, "disk_usage", lambda _, usage=usage: usage)
        assert isinstance(build(tmp_path / str(free))["train"].images, kind)


WAITING = """
import sys, fcntl, signal
sys.path[:0] = {path!r}
signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
from pathlib import Path
from test_data_cache import build
real = fcntl.flock
def flock(*arguments):
    print("waiting", flush=True)
    real(*arguments)
fcntl.flock = flock
build(Path({cache!r}))
"""


@pytest.mark.fault(
    "SIGTERM while another process decodes", injected="a builder that does not end", promised="the wait ends"
)
def test_waiting_for_another_builder_ends_at_sigterm(tmp_path: Path) -> None:
    """A process that waits for the lock leaves with 143 when it is told to, and takes nothing with it."""
    build(tmp_path)
    (key,) = cache_folder.entries(tmp_path)
    code = WAITING.format(path=[str(Path(__file__).parent), *sys.path], cache=str(tmp_path))
    cache_folder.remove(tmp_path, key)
    with cache_folder.writing(tmp_path, key):
        process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
        assert process.stdout.readline() == b"waiting\n"
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=60) == 143
        process.stdout.close()
    assert files(tmp_path) == []


HANGING = """
import os, signal, sys, time
from ablation_suite import cli
from ablation_suite.core.data import parallel
signal.signal(signal.SIGTERM, cli._terminate)
def read(index):
    os.write(1, b"reading\\n")
    time.sleep(3600)
parallel.each(read, 8)
"""


@pytest.mark.fault(
    "a file server that is gone while images are read",
    injected="reads that never end, in a driver and in a worker, and SIGTERM",
    promised="the driver leaves with 143, the worker with 75, in three seconds",
)
def test_reads_that_hang_keep_nobody_from_leaving() -> None:
    """The threads that hang are left behind."""
    process = subprocess.Popen([sys.executable, "-c", HANGING], stdout=subprocess.PIPE)
    assert process.stdout.readline() == b"reading\n"
    begun = time.monotonic()
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=60) == 143
    assert time.monotonic() - begun < parallel.LEAVE_SECONDS + 2.0
    process.stdout.close()


def test_a_signal_between_the_starts_of_two_threads_is_what_is_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    """The thread that has not begun is not waited for."""
    start = threading.Thread.start
    begun: list[threading.Thread] = []

    def interrupted(thread: threading.Thread) -> None:
        if begun:
            sys.exit(143)
        begun.append(thread)
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", interrupted)
    monkeypatch.setattr(parallel, "cores", lambda: 2)
    with pytest.raises(SystemExit, match="143"):
        parallel.each(lambda index: index, 8)
    begun[0].join(10)


def test_a_signal_in_the_middle_of_a_start_is_raised_after_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Within, it would break the lock that `Thread.start` waits with, and end in an error of that."""
    start = threading.Thread.start
    whole: list[threading.Thread] = []

    def interrupted(thread: threading.Thread) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        start(thread)
        whole.append(thread)

    def leave(*_: object) -> None:
        sys.exit(143)

    monkeypatch.setattr(threading.Thread, "start", interrupted)
    before = signal.signal(signal.SIGTERM, leave)
    try:
        with pytest.raises(SystemExit, match="143"):
            parallel.each(lambda index: index, 8)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert len(whole) == min(8, parallel.cores())


def test_a_worker_that_is_asked_to_stop_waits_no_longer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither for images nor for another builder's lock; its signals only set a flag."""
    monkeypatch.setattr(parallel, "LEAVE_SECONDS", 0.1)
    over = threading.Event()
    asked = time.monotonic() + 0.3
    with parallel.stopping_when(lambda: time.monotonic() > asked):
        with pytest.raises(parallel.Stopped):
            parallel.each(lambda _: over.wait(60), 8)
        with (
            cache_folder.writing(tmp_path, "key"),
            pytest.raises(parallel.Stopped),
            cache_folder.writing(tmp_path, "key"),
        ):
            pass
    over.set()


AT_ONCE = """
import multiprocessing, sys
sys.path.insert(0, {tests!r})
from pathlib import Path
import numpy as np
from test_data_cache import Painted, build
context = multiprocessing.get_context("fork")
barrier, queue = context.Barrier(2), context.Queue()
def work():
    barrier.wait()
    painted = Painted(3000)
    found = build(Path({cache!r}), painted)["train"]
    assert (found.images[:, 0, 0, 0] == np.arange(3000) % 256).all()
    queue.put(len(painted.decoded))
workers = [context.Process(target=work, daemon=True) for _ in range(2)]
for worker in workers:
    worker.start()
print(sorted(queue.get(timeout=30) for _ in workers))
"""


def test_two_builders_at_once_decode_once_and_both_succeed(tmp_path: Path) -> None:
    """One builds while the other waits, in daemonic worker processes, which may have no children of their own."""
    code = AT_ONCE.format(tests=str(Path(__file__).parent), cache=str(tmp_path))
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout == "[0, 3000]\n"
    assert len(files(tmp_path)) == 1


def test_a_removed_cache_stays_readable_where_it_is_open(tmp_path: Path) -> None:
    """Removing gives the bytes back in one step and hurts no run that has it mapped."""
    found = build(tmp_path)["train"]
    (key,) = cache_folder.entries(tmp_path)
    assert cache_folder.remove(tmp_path, key) == 120 * 48
    assert files(tmp_path) == []
    np.testing.assert_array_equal(found.images[:, 0, 0, 0], np.arange(100))
    with pytest.raises(DataError, match="no such decoded data set"):
        cache_folder.remove(tmp_path, key)


def test_progress_counts_the_images_of_all_splits(tmp_path: Path) -> None:
    """It never goes back and ends with all of 120."""
    seen: list[tuple[int, int]] = []
    build(tmp_path, progress=lambda done, total: seen.append((done, total)))
    assert seen == sorted(seen)
    assert seen[-1] == (120, 120)
    assert {total for _, total in seen} == {120}


def test_building_needs_little_memory(tmp_path: Path) -> None:
    """29 MB of images are decoded with less than 4 MB of Python's and NumPy's memory at any time."""
    tracemalloc.start()
    decoded(tmp_path, FINGERPRINT, {"train": Painted(600, size=128)}, title="large")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 4e6


def test_an_interrupted_build_stops_and_leaves_nothing(tmp_path: Path) -> None:
    """Ctrl-C during the build cancels what has not started and removes the temporary folder."""

    def interrupt(done: int, total: int) -> None:
        raise KeyboardInterrupt

    painted = Painted(30_000)
    with pytest.raises(KeyboardInterrupt):
        build(tmp_path, painted, progress=interrupt)
    assert len(painted.decoded) < 15_000
    assert files(tmp_path) == []


def test_the_manifest_says_what_the_cache_holds(tmp_path: Path) -> None:
    """Title, images of each split, size and bytes, as JSON."""
    build(tmp_path)
    (path,) = (tmp_path / "decoded").glob("*/manifest.json")
    found = json.loads(path.read_text())
    assert (found["title"], found["num_images"], found["size"]) == ("painted", {"train": 100, "val": 20}, 4)
    assert found["num_bytes"] == 120 * 4 * 4 * 3
    assert path.parent.name == f"{FINGERPRINT[:16]}-4px-r1"


def test_rows_choose_without_a_copy() -> None:
    """Rows of rows, in any order, are those of the array."""
    images = np.arange(10 * 2 * 2 * 3, dtype=np.uint8).reshape(10, 2, 2, 3)
    rows = Rows(images, np.array([9, 3, 4]))
    assert len(rows) == 3
    assert rows.shape == (3, 2, 2, 3)
    np.testing.assert_array_equal(rows[np.array([2, 0, 0])], images[[4, 9, 9]])
    np.testing.assert_array_equal(rows[1], images[3])


def test_work_on_all_cores_keeps_its_order_and_stops_at_the_first_fault() -> None:
    """Results stand where they belong; an exception comes out, and what has not started is not."""
    assert parallel.each(lambda i: i * i, 1000) == [i * i for i in range(1000)]
    assert parallel.each(lambda i: i, 0) == []
    started: list[int] = []

    def work(index: int) -> None:
        started.append(index)
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        parallel.each(work, 10_000)
    assert len(started) < 5_000

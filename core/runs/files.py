"""How do bytes reach the disk whole, and come back? Synced writes that replace a file at once, JSON, SHA-256.

Only regular files are read: a pipe or a device in the place of a file would never end.
"""

from __future__ import annotations

import errno
import hashlib
import io
import json
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any


@contextmanager
def replacing(path: Path) -> Iterator[IO[bytes]]:
    """Give a file to write that takes the place of `path` when the block ends, synced, or leaves nothing behind.

    A reader, or a kill, finds the old content or the new, never a part. Who may read it, the umask says. The error of a
    disk that is full names the file.
    """
    temporary = path.with_name(f".{path.name}.{os.urandom(8).hex()}")  # mkstemp's would be for its owner alone
    try:
        with naming(path):
            with open(temporary, "xb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
    except BaseException:  # a full disk, say, has the more need of the room
        temporary.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def write_atomic(path: Path, data: bytes) -> None:
    """Replace a small file at once."""
    with replacing(path) as file:
        file.write(data)


def write_json(path: Path, value: Any) -> None:
    """Replace a JSON file atomically."""
    write_atomic(path, json_bytes(value))


def read_json(path: Path) -> Any:
    """The value of a JSON file; ValueError where it is none."""
    try:
        return json.loads(read_bytes(path))
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def stamp(path: str | os.PathLike[str]) -> tuple[int, ...]:
    """What changes when a file does: its inode, size, and the last changes of content and inode; () where it is not.

    Anyone can set the time of the content back, nobody that of the inode.
    """
    try:
        found = os.stat(path)
    except OSError:
        return ()
    return found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def open_regular(path: str | os.PathLike[str]) -> io.BufferedReader:
    """Open a file to read its bytes; OSError where it is a pipe, a device or a folder, which might never end."""
    return open(_regular_handle(path), "rb")


def read_bytes(path: str | os.PathLike[str]) -> bytes:
    """All bytes of a regular file."""
    with open(_regular_handle(path), "rb", buffering=0) as file:
        return file.readall()


def _regular_handle(path: str | os.PathLike[str]) -> int:
    # A pipe without a writer would keep even the opening waiting.
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise OSError(errno.EINVAL, "it is a pipe, a device or a folder, no file", str(path))
    return handle


def json_bytes(value: Any) -> bytes:
    """A value as JSON that people can read."""
    return json_text(value, indent=1) + b"\n"


def json_text(value: Any, **form: Any) -> bytes:
    """A value as JSON in UTF-8; bytes of a file's name that are no text become what JSON spells and reads so."""
    return json.dumps(value, ensure_ascii=False, **form).encode(errors="backslashreplace")


def write_synced(path: Path, data: bytes) -> None:
    """Write a file and wait until the disk has it."""
    with naming(path), open(path, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Name the file in an error of the disk, since those of writing and syncing do not."""
    try:
        yield
    except OSError as error:
        if error.filename is None:
            error.filename = str(path)
        raise


def sync_folder(path: Path) -> None:
    """Wait until the disk has the names of a folder: a rename is safe only after this."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sha256(data: bytes | str) -> str:
    """The SHA-256 of bytes or of a text, 64 hexadecimal digits; a file's name that is no text counts by its bytes."""
    return hashlib.sha256(data.encode("utf-8", "surrogateescape") if isinstance(data, str) else data).hexdigest()


def blake2b(data: bytes | memoryview) -> str:
    """The BLAKE2b of bytes, 32 hexadecimal digits: faster than SHA-256, for arrays of gigabytes."""
    return hashlib.blake2b(data, digest_size=16).hexdigest()


def file_sha256(path: Path) -> str:
    """The SHA-256 of a file's bytes, 64 hexadecimal digits."""
    with open_regular(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class Hashing:
    """A file that takes the SHA-256 of what it is given to write; `error` is that of the disk, where it had one."""

    def __init__(self, file: IO[bytes]):
        self.file, self.sha256 = file, hashlib.sha256()
        self.error: OSError | None = None

    def write(self, data: bytes) -> int:
        self.sha256.update(data)
        try:
            return self.file.write(data)
        except OSError as error:
            self.error = error
            raise

    def flush(self) -> None:
        self.file.flush()

"""How do drivers share a database? Under one lock, by one clock, through a Python package for each kind of server."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ablation_suite.sweeps.storage import FileLock, StorageError

MAX_HOLD_SECONDS = 300
"""A machine that lost its power cannot release the lock; the server then does."""


@contextmanager
def database_lock(url: str) -> Iterator[None]:
    """Keep a database to one driver, among those that ask; the end of a holder, of any kind, releases it."""
    from sqlalchemy import NullPool, create_engine, text

    sqlite_file(url)  # one in memory is refused before its lock makes a file
    engine = create_engine(url, poolclass=NullPool)
    with engine.connect() as connection:
        if engine.dialect.name == "sqlite":
            with _file_lock(str(engine.url.database).removeprefix("file:")):
                yield
            return
        for statement in _ACQUIRE.get(engine.dialect.name, ()):
            connection.execute(text(statement))
        try:
            yield
        finally:
            connection.invalidate()


_MYSQL_ACQUIRE = (
    f"SET SESSION wait_timeout = {MAX_HOLD_SECONDS}",
    "SELECT GET_LOCK(CONCAT('ablate ', MD5(DATABASE())), 1000000)",
)
_ACQUIRE = {
    "postgresql": (
        f"SET LOCAL idle_in_transaction_session_timeout = '{MAX_HOLD_SECONDS}s'",
        "SELECT pg_advisory_xact_lock(hashtext('ablate'))",
    ),
    "mysql": _MYSQL_ACQUIRE,
    "mariadb": _MYSQL_ACQUIRE,
}


@contextmanager
def _file_lock(database: str) -> Iterator[None]:
    lock = FileLock(Path(database))
    try:
        lock.acquire()
    except OSError as error:
        raise StorageError(f"{lock.path}: {error.strerror}") from None
    try:
        yield
    finally:
        lock.release()


def engine_options(url: str) -> dict[str, Any]:
    """What SQLAlchemy should do with the connections of a study: mend broken ones, and count time in UTC.

    Heartbeats are stored in the session's own time without its zone: when summer time began, or for a driver with
    another zone in its environment, every other driver would look silent for hours.
    """
    from sqlalchemy import NullPool

    if sqlite_file(url) is not None:
        return {"poolclass": NullPool}  # a file has no connection to break, and one that failed is closed
    statement = _SET_UTC.get(_kind(url))

    def in_utc(connection: Any, record: Any) -> None:
        with connection.cursor() as cursor:
            cursor.execute(statement)
        connection.commit()

    return {"pool_pre_ping": True, "pool_events": [(in_utc, "connect")] if statement else []}


def sqlite_file(url: str) -> Path | None:
    """The file of an SQLite URL; None for other databases and for a URI of SQLite's own; StorageError in memory."""
    from sqlalchemy import make_url

    address = make_url(url)
    if address.get_backend_name() != "sqlite":
        return None
    file = address.database or ":memory:"
    if ":memory:" in file or address.query.get("mode") == "memory":
        raise StorageError("storage: a database in memory ends with the command; name a file: sqlite:///study.db")
    return None if file.startswith("file:") else Path(file)


_SET_UTC = {
    "postgresql": "SET TIME ZONE 'UTC'",
    "mysql": "SET time_zone = '+00:00'",
    "mariadb": "SET time_zone = '+00:00'",
}
_DRIVERS = {
    "postgresql": ("psycopg[binary]", "postgresql+psycopg"),
    "mysql": ("PyMySQL[rsa]", "mysql+pymysql"),
    "mariadb": ("PyMySQL[rsa]", "mariadb+pymysql"),
}
"""Kind of server -> the package to install, and how a URL that uses it begins."""


def install_hint(url: str | None) -> str:
    """What to do where the Python package of a URL is missing."""
    package, scheme = _DRIVERS.get(_kind(url) if url else "", ("", ""))
    return f"; pip install '{package}', for {scheme}://..." if package else ""


def _kind(url: str) -> str:
    from sqlalchemy import make_url

    return make_url(url).get_backend_name()

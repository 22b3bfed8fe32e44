"""What would a database on another machine do? A real PostgreSQL and a real MariaDB on the loopback, with passwords."""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import sqlalchemy

PASSWORD = "s3cr{t}:@/%"
"""With everything that a URL has to escape."""
NOBODY = 65534
"""The servers refuse to run as root."""


@contextmanager
def running(kind: type[Server]) -> Iterator[Server]:
    """A server that runs over a new folder, which goes with it."""
    folder = Path(tempfile.mkdtemp(prefix="ablate-"))  # in a folder of pytest's, nobody but root could reach it
    server = kind(folder)
    try:
        server.initialise()
        server.start()
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder)


class Server(ABC):
    """A database server over a data folder of its own, which can be stopped and started again."""

    scheme: str
    home: str
    """The database that is there from the beginning."""
    needs: tuple[str, ...]
    """Two programs and a Python module."""
    begin_summer_time: str
    """The statement after which new connections live an hour later."""
    stop_signal = signal.SIGTERM

    def __init__(self, folder: Path):
        self.folder, self.num_databases = folder, 0
        self.process: subprocess.Popen[bytes] | None = None
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            self.port = listener.getsockname()[1]
        if os.getuid() == 0:
            os.chown(folder, NOBODY, NOBODY)

    @classmethod
    def missing(cls) -> list[str]:
        """What is not here of that which it needs."""
        *programs, module = cls.needs
        modules = [] if importlib.util.find_spec(module) else [module]
        return [name for name in programs if shutil.which(name) is None] + modules

    @abstractmethod
    def initialise(self) -> None:
        """Fill the data folder."""

    @abstractmethod
    def command(self) -> list[str]:
        """The server's command line."""

    def url(self, database: str, password: str = PASSWORD, port: int | None = None) -> str:
        return f"{self.scheme}://ablate:{quote(password, safe='')}@127.0.0.1:{port or self.port}/{database}"

    def new_database(self) -> str:
        """The URL of an empty database."""
        self.num_databases += 1
        name = f"study_{self.num_databases}"
        self.execute(self.url(self.home), f"CREATE DATABASE {name}")
        return self.url(name)

    def execute(self, url: str, statement: str) -> list[Any]:
        """The rows that a statement of SQL gives."""
        engine = sqlalchemy.create_engine(url, poolclass=sqlalchemy.NullPool, isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            result = connection.execute(sqlalchemy.text(statement))
            return list(result) if result.returns_rows else []

    def start(self) -> None:
        """Start the server and wait until it answers."""
        log = self.folder / "log.txt"
        with open(log, "ab") as file:
            self.process = subprocess.Popen(
                _as_nobody(self.command()), stdout=file, stderr=file, env=self.environment()
            )
        deadline = time.monotonic() + 60.0
        while True:
            try:
                self.execute(self.url(self.home), "SELECT 1")
                return
            except sqlalchemy.exc.OperationalError:
                assert self.process.poll() is None, log.read_text(errors="replace")
                assert time.monotonic() < deadline, log.read_text(errors="replace")
                time.sleep(0.05)

    def stop(self) -> None:
        """Stop the server without regard for its clients."""
        if self.process is not None:
            self.process.send_signal(self.stop_signal)
            self.process.wait(60)

    def run(self, *command: str) -> None:
        words, place = _as_nobody(list(command)), {"cwd": self.folder, "env": self.environment()}
        result = subprocess.run(words, **place, capture_output=True, text=True)
        assert result.returncode == 0, result.stdout + result.stderr

    def environment(self) -> dict[str, str]:
        return {**os.environ, "TMPDIR": str(self.folder)}


class PostgreSQL(Server):
    scheme, home, needs = "postgresql+psycopg", "postgres", ("initdb", "postgres", "psycopg")
    begin_summer_time = "ALTER ROLE ablate SET timezone TO 'Etc/GMT-1'"
    stop_signal = signal.SIGINT

    def initialise(self) -> None:
        (self.folder / "password").write_text(PASSWORD)
        options = ["--username=ablate", "--pwfile=password", "--auth=scram-sha-256", "--encoding=UTF8", "--locale=C"]
        self.run("initdb", "--pgdata=data", "--no-sync", *options)

    def command(self) -> list[str]:
        settings = ["listen_addresses=127.0.0.1", "unix_socket_directories=", "fsync=off"]
        options = [word for setting in settings for word in ("-c", setting)]
        return ["postgres", "-D", str(self.folder / "data"), "-p", str(self.port), *options]


class MariaDB(Server):
    scheme, home, needs = "mysql+pymysql", "mysql", ("mariadb-install-db", "mariadbd", "pymysql")
    begin_summer_time = "SET GLOBAL time_zone = '+01:00'"
    hasty = ("--innodb-flush-method=nosync", "--innodb-flush-log-at-trx-commit=0")

    def initialise(self) -> None:
        user = "ablate@'127.0.0.1'"
        (self.folder / "users.sql").write_text(
            f"CREATE USER IF NOT EXISTS {user} IDENTIFIED BY '{PASSWORD}';\nGRANT ALL ON *.* TO {user};\n"
        )
        options = ["--no-defaults", f"--datadir={self.folder}/data", "--skip-test-db", *self.hasty]
        self.run("mariadb-install-db", *options)

    def command(self) -> list[str]:
        files = {"datadir": "data", "init-file": "users.sql", "socket": "socket", "pid-file": "pid"}
        options = [f"--{option}={self.folder / name}" for option, name in files.items()]
        options += [f"--port={self.port}", "--bind-address=127.0.0.1", "--skip-name-resolve"]
        options += ["--character-set-server=utf8mb4", *self.hasty]  # as Debian sets it
        return ["mariadbd", "--no-defaults", *options]


SERVERS = {"PostgreSQL": PostgreSQL, "MariaDB": MariaDB}


def _as_nobody(command: list[str]) -> list[str]:
    if os.getuid() != 0:
        return command
    return ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", *command]

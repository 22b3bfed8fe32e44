"""How is the storage of a study opened? A database by its URL, or a journal file that is repaired first."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend

from ablation_suite.sweeps.database import engine_options, sqlite_file
from ablation_suite.sweeps.from_optuna import as_trial, enqueue_again
from ablation_suite.sweeps.heartbeat import GRACE_SECONDS, HEARTBEAT_SECONDS
from ablation_suite.sweeps.storage import FileLock, StorageError, repair_journal
from ablation_suite.sweeps.storage_errors import hide_password


@contextmanager
def open_storage(url: str | None, journal: Path, *, to_write: bool = True) -> Iterator[BaseStorage]:
    """The storage of a URL, its connections closed in the end, or the journal file, repaired first if to be written."""
    if url is not None:
        file = sqlite_file(url)
        if not to_write and file is not None and not file.exists():
            # SQLite would make it.
            raise StorageError(f"storage {hide_password(url)}: no such file yet; `ablate sweep SPEC` begins it")
        database = RDBStorage(
            url.replace("{", "{{").replace("}", "}}"),  # Optuna formats it
            engine_kwargs=engine_options(url),
            heartbeat_interval=HEARTBEAT_SECONDS,
            grace_period=GRACE_SECONDS,
            heartbeat_stale_trial_callback=lambda study, frozen: enqueue_again(study, as_trial(frozen)),
        )
        try:
            yield database
        finally:
            database.remove_session()
            database.engine.dispose()
        return
    if to_write:
        journal.parent.mkdir(parents=True, exist_ok=True)
        repair_journal(journal)
    elif not journal.exists():
        raise StorageError(f"{journal}: no such study yet; `ablate sweep SPEC` begins it")
    try:
        storage = JournalStorage(JournalFileBackend(str(journal), lock_obj=FileLock(journal)))  # type: ignore[arg-type]
    except ValueError as error:
        raise StorageError(f"{journal}: the journal is damaged: {error}") from None
    yield storage

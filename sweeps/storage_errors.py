"""What went wrong with a study's storage? One plain line, without the password."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote, quote_plus

from ablation_suite.sweeps.database import install_hint
from ablation_suite.sweeps.storage import StorageError

_PASSWORD_KEYS = "(?:password|passwd|sslpassword)"


@contextmanager
def plain_errors(url: str | None, place: Path) -> Iterator[None]:
    """Turn what Optuna, SQLAlchemy and the disk say about a storage into one StorageError without the password."""
    from optuna.exceptions import StorageInternalError
    from sqlalchemy.exc import ArgumentError, NoSuchModuleError, SQLAlchemyError

    shown = hide_password(url) if url else str(place)
    try:
        yield
    except NoSuchModuleError:
        raise StorageError(f"storage {shown}: no such kind of database") from None
    except ArgumentError:
        raise StorageError("storage: what was given is no database URL such as sqlite:///study.db") from None
    except ImportError as error:
        raise StorageError(
            f"storage {shown}: its driver is not installed: {_cause(error)}{install_hint(url)}"
        ) from None
    except (SQLAlchemyError, StorageInternalError) as error:
        raise StorageError(f"storage {shown}: {scrub(_cause(error), url)}") from None
    except OSError as error:
        if error.filename is None or Path(str(error.filename)).parent != place.parent:
            raise
        raise StorageError(f"storage {shown}: {error.strerror}") from None


def hide_password(url: str) -> str:
    """A URL with `***` for its password, wherever it stands."""
    url = re.sub(r"(://[^:/@]*):.*@", r"\1:***@", url)
    return re.sub(rf"([?&]{_PASSWORD_KEYS}=)[^&]*", r"\1***", url)


def scrub(text: str, url: str | None) -> str:
    """A text without the passwords of a URL, in any of their spellings."""
    for password in _passwords(url) if url else ():
        for spelling in {password, quote(password), quote_plus(password)}:
            text = text.replace(spelling, "***")
    return " ".join(text.split())


def _passwords(url: str) -> Iterator[str]:
    from sqlalchemy import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        parts = make_url(url)
    except ArgumentError:
        return
    found = [parts.password, *(value for key, value in parts.query.items() if re.fullmatch(_PASSWORD_KEYS, key))]
    yield from (str(password) for password in found if password)


def _cause(error: BaseException) -> str:
    """The first line of what the database itself said."""
    while error.__cause__ is not None:
        error = error.__cause__
    return str(getattr(error, "orig", None) or error).strip().partition("\n")[0]

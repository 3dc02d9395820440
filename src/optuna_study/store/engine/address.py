"""Where a store is: a storage URL, parsed once, and how it is shown; nothing else prints one."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, unquote_plus

from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from optuna_study.errors import StorageUrlError

_SECRET = re.compile(r"pass|pwd|secret|token|key", re.IGNORECASE)
# To the last @ of the whole URL: a name and a password may hold any unescaped character (a name
# with @ is usual in some clouds), and too much hidden harms nobody. Without // it is no URL, but
# perhaps one that was mistyped.
_PASSWORD = re.compile(r"^((?:[\w+.-]*:/+|(?![\w+.-]*:/))[^:]*):(.*)@", re.DOTALL)
# Optuna's proxy has no URLs of its own; these are the spellings that people try.
_GRPC = re.compile(r"grpcs?([+:]|$)", re.IGNORECASE)


@dataclass(frozen=True, repr=False)
class StoreAddress:
    """Where a store is; shown without its secrets, whoever prints it.

    `location` is the absolute path of a SQLite file, or a server's URL with the psycopg driver.
    """

    url: str  # as given, secrets and all
    location: Path | URL

    @classmethod
    def parse(cls, url: str) -> StoreAddress:
        """Read a storage URL.

        Raises:
            StorageUrlError: it is none, or one of a kind that cannot carry a queue of trials.
        """
        return cls(url, _locate(url))

    @classmethod
    def of_file(cls, path: Path) -> StoreAddress:
        """A SQLite file, such as a workspace's own."""
        return cls.parse(f"sqlite:///{path}")

    @property
    def path(self) -> Path | None:
        """The SQLite file; None for a server."""
        return self.location if isinstance(self.location, Path) else None

    @property
    def server(self) -> URL | None:
        """The server's URL; None for a file."""
        return self.location if isinstance(self.location, URL) else None

    def __str__(self) -> str:
        """The URL with every secret in it replaced by `***`."""
        return mask(self.url)

    def __repr__(self) -> str:
        return f"StoreAddress({str(self)!r})"

    def without_secrets(self, text: str) -> str:
        """`text` without this URL's secrets, on one line."""
        return " ".join(hide_secrets(text, self.url).split())


def _locate(url: str) -> Path | URL:
    shown = mask(url)
    if _GRPC.match(url):
        raise StorageUrlError(
            f"'{shown}': Optuna's gRPC proxy passes on Optuna's own calls alone, and cannot "
            "carry the leases of this queue of trials; use postgresql:// directly, with PgBouncer "
            "in front of it for very many workers"
        )
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError) as error:
        raise StorageUrlError(
            f"'{shown}' is no storage URL; expected sqlite:///path/to/file.db or "
            "postgresql://user@host/database"
        ) from error
    backend, _, driver = parsed.drivername.partition("+")
    if backend == "sqlite" and driver in ("", "pysqlite"):
        return _locate_file(shown, parsed)
    if backend in ("postgresql", "postgres") and driver in ("", "psycopg"):
        if not parsed.database and "service" not in parsed.query:
            raise StorageUrlError(f"{shown}: no database named after the host")
        return parsed.set(drivername="postgresql+psycopg")
    known = {"sqlite": "sqlite://", "postgresql": "postgresql+psycopg://"}.get(backend)
    advice = f"use {known}" if known else "use sqlite:/// or postgresql://"
    raise StorageUrlError(
        f"'{shown}': '{parsed.drivername}' cannot carry the queue of trials; {advice}"
    )


def _locate_file(shown: str, parsed: URL) -> Path:
    if parsed.host or parsed.username:
        raise StorageUrlError(
            f"{shown}: a SQLite file takes three slashes, sqlite:///relative.db, or four, "
            "sqlite:////absolute.db"
        )
    if not parsed.database or parsed.database == ":memory:" or parsed.query:
        raise StorageUrlError(
            f"{shown}: name a plain file, sqlite:///path/to/file.db; a store in memory cannot be "
            "shared with workers"
        )
    return Path(parsed.database).absolute()


def mask(url: str) -> str:
    """The URL with every secret in it replaced by `***`.

    >>> mask("postgresql://ann:s3cret@db/x?sslpassword=p&sslmode=require")
    'postgresql://ann:***@db/x?sslpassword=***&sslmode=require'
    """
    address, question, query = _PASSWORD.sub(r"\1:***@", url).partition("?")
    shown = []
    for pair in query.split("&") if question else []:
        name, equals, _ = pair.partition("=")
        secret = equals and _SECRET.search(unquote_plus(name))
        shown.append(f"{name}=***" if secret else pair)
    return address + question + "&".join(shown)


def hide_secrets(text: str, url: str) -> str:
    """The text with the URL's secrets replaced by `***`, wherever it holds them.

    A password that is also the name of a user, host or database is one in its place alone.

    >>> hide_secrets("postgres: no postgres:postgres@db", "postgresql://postgres:postgres@db/x")
    'postgres: no postgres:***@db'
    """
    shown = mask(url)
    text = text.replace(url, shown)
    names = re.split(r"[:/@?&=]+", shown)
    for secret in find_secrets(url):
        written = re.escape(secret)
        in_place = rf"(?<=[:=]){written}(?=[@&\s]|$)"
        text = re.sub(in_place if secret in names else written, "***", text)
    return text


def find_secrets(url: str) -> tuple[str, ...]:
    """Every secret in the URL, as written and decoded, longest first."""
    found: set[str] = set()
    password = _PASSWORD.search(url)
    if password:
        found |= {password[2], password[2].partition("@")[0]}
    for pair in url.partition("?")[2].split("&"):
        name, _, value = pair.partition("=")
        if _SECRET.search(unquote_plus(name)):
            found.add(value)
    decoded = {unquote(secret) for secret in found} | {unquote_plus(secret) for secret in found}
    return tuple(sorted((found | decoded) - {""}, key=len, reverse=True))

"""SQLite as a server needs it: WAL, commits that are on disk when they return, and one writer at a time."""

from __future__ import annotations

import sqlite3
import threading
from contextlib import contextmanager
from pathlib import Path


class Missing(Exception):
    """The database was never made. Nothing makes one by accident: see initialize_db."""


def connect(path: Path, create: bool = False) -> sqlite3.Connection:
    """Opens a database. Raises Missing where there is none, unless it may be made."""
    if create:
        path.parent.mkdir(parents=True, exist_ok=True)
    elif not path.exists():
        raise Missing(f"there is no database {path}: make it with `python3 -m pony.initialize_db`")
    mode = "rwc" if create else "rw"
    # Transactions are written out as BEGIN IMMEDIATE; a statement alone commits by itself.
    connection = sqlite3.connect(
        f"{path.absolute().as_uri()}?mode={mode}", uri=True, timeout=30, isolation_level=None, check_same_thread=False
    )
    connection.row_factory = sqlite3.Row
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA foreign_keys = ON")
    return connection


@contextmanager
def transaction(connection: sqlite3.Connection):
    """All or nothing; on disk when it returns."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield connection
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")


class Database:
    """One database file, used by many threads: a connection for each at a time, and a lock before writes, because
    waiting for a lock is quicker and fairer than SQLite's polling."""

    def __init__(self, path: Path):
        self.path = path
        self._idle: list[sqlite3.Connection] = []
        self._writing = threading.Lock()

    @contextmanager
    def reading(self):
        # list.pop and list.append are atomic, so the list needs no lock of its own.
        try:
            connection = self._idle.pop()
        except IndexError:
            connection = connect(self.path)
        try:
            yield connection
        except BaseException:
            connection.close()
            raise
        self._idle.append(connection)

    @contextmanager
    def writing(self):
        with self._writing, self.reading() as connection, transaction(connection):
            yield connection

    def close(self):
        while self._idle:
            self._idle.pop().close()

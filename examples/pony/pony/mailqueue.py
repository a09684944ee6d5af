"""The queue of mails to send: a database of its own, so that the web process and the workers share nothing else.

A mail has a key and is queued at most once, however often it is put. It stays, marked as sent, so that its key is
remembered.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path

from .database import connect, transaction


def create(path: Path) -> None:
    connection = connect(path, create=True)
    connection.execute(
        """CREATE TABLE IF NOT EXISTS mails (
            id INTEGER PRIMARY KEY AUTOINCREMENT, key TEXT NOT NULL UNIQUE, recipient TEXT NOT NULL,
            subject TEXT NOT NULL, body TEXT NOT NULL, state TEXT NOT NULL DEFAULT 'queued',
            attempts INTEGER NOT NULL DEFAULT 0, queued_at TEXT NOT NULL DEFAULT (datetime('now')), sent_at TEXT)"""
    )
    connection.execute("CREATE INDEX IF NOT EXISTS mails_to_send ON mails (id) WHERE state <> 'sent'")
    connection.close()


def put(queue: sqlite3.Connection, mails) -> None:
    queue.executemany("INSERT OR IGNORE INTO mails (key, recipient, subject, body) VALUES (?, ?, ?, ?)", mails)


def relay(main: sqlite3.Connection, queue: sqlite3.Connection) -> int:
    """Moves the outbox of the main database into the queue, and returns how many mails that were.

    A registration and its mail in the outbox are one commit. The mail is in the queue, on disk, before it leaves the
    outbox: a crash between the two puts it again, which changes nothing.
    """
    waiting = [tuple(row) for row in main.execute("SELECT key, recipient, subject, body FROM outbox")]
    if waiting:
        with transaction(queue):
            put(queue, waiting)
        with transaction(main):
            main.executemany("DELETE FROM outbox WHERE key = ?", [(key,) for key, *_ in waiting])
    return len(waiting)


def unsent(queue: sqlite3.Connection, limit: int = 50) -> list[sqlite3.Row]:
    return queue.execute("SELECT * FROM mails WHERE state <> 'sent' ORDER BY id LIMIT ?", (limit,)).fetchall()


def counts(queue: sqlite3.Connection) -> dict[str, int]:
    return {row[0]: row[1] for row in queue.execute("SELECT state, count(*) FROM mails GROUP BY state")}

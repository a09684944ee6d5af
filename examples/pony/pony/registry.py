"""What the club keeps: brevets and their riders, in the main database, and the mails that a registration calls for."""

from __future__ import annotations

import sqlite3
import uuid
from datetime import datetime, timezone
from typing import NamedTuple

from . import mailqueue
from .database import Database


class Registered(NamedTuple):
    rider: dict
    new: bool


class Registry:
    def __init__(self, main: Database, queue: Database):
        self.main = main
        self.queue = queue

    def brevets(self) -> list[sqlite3.Row]:
        with self.main.reading() as database:
            return database.execute(
                """SELECT brevets.*, (SELECT count(*) FROM riders WHERE brevet_id = brevets.id) AS riders
                FROM brevets ORDER BY starts_on"""
            ).fetchall()

    def brevet(self, brevet_id: int):
        """A brevet, its last riders and their number, or None."""
        with self.main.reading() as database:
            row = database.execute("SELECT * FROM brevets WHERE id = ?", (brevet_id,)).fetchone()
            if row is None:
                return None
            riders = database.execute(
                "SELECT * FROM riders WHERE brevet_id = ? ORDER BY id DESC LIMIT 50", (brevet_id,)
            ).fetchall()
            total = database.execute("SELECT count(*) FROM riders WHERE brevet_id = ?", (brevet_id,)).fetchone()[0]
            return row, riders, total

    def riders(self) -> list[dict]:
        with self.main.reading() as database:
            return [dict(row) for row in database.execute("SELECT * FROM riders ORDER BY id")]

    def setting(self, name: str) -> str:
        with self.main.reading() as database:
            row = database.execute("SELECT value FROM settings WHERE name = ?", (name,)).fetchone()
            return row["value"] if row else ""

    def counts(self) -> tuple[int, dict[str, int]]:
        with self.main.reading() as database:
            riders = database.execute("SELECT count(*) FROM riders").fetchone()[0]
        with self.queue.reading() as database:
            return riders, mailqueue.counts(database)

    def register(self, brevet_id: int, name: str, email: str, key: str | None):
        """Registers a rider, once for each key, and returns when that is on disk. None: no such brevet.

        The rider and the mail in the outbox are one commit. Moving the mail to the queue may fail without harm: the
        worker moves what stayed behind.
        """
        key = key or str(uuid.uuid4())
        with self.main.writing() as database:
            there = database.execute("SELECT * FROM riders WHERE key = ?", (key,)).fetchone()
            if there is not None:
                return Registered(dict(there), new=False)
            brevet = database.execute("SELECT * FROM brevets WHERE id = ?", (brevet_id,)).fetchone()
            if brevet is None:
                return None
            now = datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M:%S")
            added = database.execute(
                "INSERT INTO riders (brevet_id, name, email, registered_at, key) VALUES (?, ?, ?, ?, ?)",
                (brevet_id, name, email, now, key),
            )
            subject = f"You ride {brevet['name']} {brevet['distance_km']}"
            body = f"{name}, you are registered.\n\n{brevet['start_place']}, {brevet['starts_on']}. Bon courage!\n"
            database.execute("INSERT INTO outbox VALUES (?, ?, ?, ?)", (key, email, subject, body))
            rider = dict(id=added.lastrowid, brevet_id=brevet_id, name=name, email=email, registered_at=now, key=key)
        return Registered(rider, new=True)

    def relay(self) -> None:
        with self.queue.reading() as queue, self.main.reading() as main:
            mailqueue.relay(main, queue)

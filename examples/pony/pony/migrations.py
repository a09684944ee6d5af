"""The schema of the main database, as the numbered steps that led to it. Applied ones are never edited."""

from __future__ import annotations

import sqlite3
from typing import NamedTuple, Optional

from .database import transaction


class Migration(NamedTuple):
    name: str
    forward: tuple[str, ...]
    reverse: Optional[tuple[str, ...]]  # None: it cannot be reversed


MIGRATIONS = (
    Migration(
        "0001_brevets_and_riders",
        (
            """CREATE TABLE brevets (
                id INTEGER PRIMARY KEY, name TEXT NOT NULL, distance_km INTEGER NOT NULL,
                starts_on TEXT NOT NULL, start_place TEXT NOT NULL)""",
            """CREATE TABLE riders (
                id INTEGER PRIMARY KEY AUTOINCREMENT, brevet_id INTEGER NOT NULL REFERENCES brevets (id),
                name TEXT NOT NULL, email TEXT NOT NULL, registered_at TEXT NOT NULL)""",
            "CREATE INDEX riders_of_brevet ON riders (brevet_id)",
        ),
        ("DROP TABLE riders", "DROP TABLE brevets"),
    ),
    Migration(
        "0002_settings",
        ("CREATE TABLE settings (name TEXT PRIMARY KEY, value TEXT NOT NULL)",),
        ("DROP TABLE settings",),
    ),
    Migration(
        "0003_rider_keys_and_outbox",
        (
            "ALTER TABLE riders ADD COLUMN key TEXT",
            "CREATE UNIQUE INDEX riders_by_key ON riders (key)",
            """CREATE TABLE outbox (
                key TEXT PRIMARY KEY, recipient TEXT NOT NULL, subject TEXT NOT NULL, body TEXT NOT NULL)""",
        ),
        (
            "DROP TABLE outbox",
            "DROP INDEX riders_by_key",
            "ALTER TABLE riders DROP COLUMN key",
        ),
    ),
)


class Irreversible(Exception):
    pass


def applied(connection: sqlite3.Connection) -> list[str]:
    """Names of what was applied, oldest first."""
    connection.execute("CREATE TABLE IF NOT EXISTS migrations (name TEXT PRIMARY KEY, applied_at TEXT NOT NULL)")
    return [row["name"] for row in connection.execute("SELECT name FROM migrations ORDER BY name")]


def migrate(connection: sqlite3.Connection, migrations=MIGRATIONS) -> list[str]:
    """Applies what is missing, each in a transaction of its own, and returns its names."""
    done = []
    for migration in migrations:
        if migration.name in applied(connection):
            continue
        with transaction(connection):
            for statement in migration.forward:
                connection.execute(statement)
            connection.execute("INSERT INTO migrations VALUES (?, datetime('now'))", (migration.name,))
        done.append(migration.name)
    return done


def reverse_to(connection: sqlite3.Connection, name: str, migrations=MIGRATIONS) -> list[str]:
    """Takes back, newest first, what was applied after `name` ("zero": everything). Nothing, if one of them can't be."""
    known = [migration.name for migration in migrations]
    if name != "zero" and name not in known:
        raise Irreversible(f"there is no migration {name}; there are: zero, {', '.join(known)}")
    later = known if name == "zero" else known[known.index(name) + 1 :]
    there = applied(connection)
    strange = [other for other in there if other not in known]
    if strange:
        raise Irreversible(f"applied by a newer version of the code, so only that can take it back: {', '.join(strange)}")
    todo = [m for m in reversed(migrations) if m.name in later and m.name in there]
    for migration in todo:
        if migration.reverse is None:
            raise Irreversible(f"{migration.name} cannot be taken back")
    for migration in todo:
        with transaction(connection):
            for statement in migration.reverse or ():
                connection.execute(statement)
            connection.execute("DELETE FROM migrations WHERE name = ?", (migration.name,))
    return [migration.name for migration in todo]

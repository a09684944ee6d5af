"""python3 -m pony.initialize_db: makes both databases and fills in what the app cannot do without.

Asks for it on a terminal, or takes it from PONY_CLUB_LINK, PONY_ORGANISER_EMAIL and PONY_ADMIN_PASSWORD. Databases
that have been initialized are left as they are (status 0; 3 with --new).
"""

from __future__ import annotations

import argparse
import getpass
import os
import sys

from . import mailqueue, migrations, passwords, settings
from .database import connect, transaction

BREVETS = (
    (200, "Lower Mainland", 200, "2026-04-04", "Pitt Meadows"),
    (300, "Fraser Valley", 300, "2026-04-25", "Fort Langley"),
    (400, "Manning Park", 400, "2026-05-16", "Hope"),
    (600, "Crowsnest", 600, "2026-06-13", "Osoyoos"),
)

QUESTIONS = (
    ("club_link", "PONY_CLUB_LINK", "Link to the club's page", False),
    ("organiser_email", "PONY_ORGANISER_EMAIL", "E-mail address of the organiser", False),
    ("admin_password", "PONY_ADMIN_PASSWORD", "Password of the administrator", True),
)


class Unanswered(Exception):
    pass


def answers(environ, interactive: bool) -> dict[str, str]:
    """What the environment gives, and what the person at the terminal answers to the rest."""
    missing = [variable for _, variable, _, _ in QUESTIONS if not environ.get(variable)]
    if missing and not interactive:
        raise Unanswered(f"no terminal to ask at, and not in the environment: {', '.join(missing)}")
    found = {}
    for name, variable, question, secret in QUESTIONS:
        value = environ.get(variable)
        while not value:
            value = getpass.getpass(f"{question}: ") if secret else input(f"{question}: ").strip()
        found[name] = value
    return found


def main(arguments=None) -> int:
    parser = argparse.ArgumentParser(prog="pony.initialize_db", description="Make and fill the databases.")
    parser.add_argument("--new", action="store_true", help="fail where they have been initialized before")
    options = parser.parse_args(arguments)
    here = settings.load()
    main_database = connect(here.main_database, create=True)
    try:
        migrations.migrate(main_database)
        before = main_database.execute("SELECT value FROM settings WHERE name = 'initialized_at'").fetchone()
        if before:
            print(f"{here.main_database} was initialized on {before['value']}: it is left as it is")
            return 3 if options.new else 0
        try:
            given = answers(os.environ, sys.stdin.isatty())
        except Unanswered as error:
            print(f"nothing was initialized: {error}", file=sys.stderr)
            return 2
        mailqueue.create(here.queue_database)
        password = given.pop("admin_password")
        with transaction(main_database):
            main_database.executemany("INSERT INTO brevets VALUES (?, ?, ?, ?, ?)", BREVETS)
            main_database.executemany("INSERT INTO settings VALUES (?, ?)", given.items())
            main_database.execute("INSERT INTO settings VALUES ('admin_password', ?)", (passwords.hashed(password),))
            main_database.execute("INSERT INTO settings VALUES ('initialized_at', datetime('now') || ' UTC')")
    finally:
        main_database.close()
    print(f"initialized {here.main_database} and {here.queue_database}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

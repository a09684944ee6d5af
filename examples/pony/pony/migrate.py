"""python3 -m pony.migrate [--list | --status | --reverse-to NAME]: brings the main database to this code's schema."""

from __future__ import annotations

import argparse
import sys

from . import migrations, settings
from .database import Missing, connect


def main(arguments=None) -> int:
    parser = argparse.ArgumentParser(prog="pony.migrate", description="Bring the database to this code's schema.")
    choice = parser.add_mutually_exclusive_group()
    choice.add_argument("--list", action="store_true", help="names of what is applied, one a line")
    choice.add_argument("--status", action="store_true", help="all migrations, with a cross where applied")
    choice.add_argument("--reverse-to", metavar="NAME", help="take back what was applied after NAME, or `zero`")
    options = parser.parse_args(arguments)
    try:
        connection = connect(settings.load().main_database)
    except Missing as error:
        print(error, file=sys.stderr)
        return 1
    try:
        if options.list:
            for name in migrations.applied(connection):
                print(name)
        elif options.status:
            there = migrations.applied(connection)
            for migration in migrations.MIGRATIONS:
                print(f"[{'x' if migration.name in there else ' '}] {migration.name}")
        elif options.reverse_to:
            for name in migrations.reverse_to(connection, options.reverse_to):
                print(f"took back {name}")
        else:
            done = migrations.migrate(connection)
            for name in done:
                print(f"applied {name}")
            if not done:
                print("nothing to apply: the schema is up to date")
    except migrations.Irreversible as error:
        print(f"nothing was changed: {error}", file=sys.stderr)
        return 1
    finally:
        connection.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())

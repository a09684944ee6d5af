"""Applies what is in migrations/ and isn't recorded; `down` reverses one, if it has a .down.sql beside it."""
import glob
import os
import sys

if "DATABASE_URL" not in os.environ:
    print("no database: nothing to migrate")
    sys.exit(0)

from db import connect

connection = connect()
cursor = connection.cursor()
cursor.execute(
    "CREATE TABLE IF NOT EXISTS schema_migrations (name text PRIMARY KEY, applied timestamptz NOT NULL DEFAULT now())"
)
cursor.execute("SELECT name FROM schema_migrations")
applied = {row[0] for row in cursor.fetchall()}
if sys.argv[1:2] == ["list"]:
    for name in sorted(applied):
        print(name)
    sys.exit(0)
if sys.argv[1:2] == ["down"]:
    name = sys.argv[2]
    cursor.execute(open(f"migrations/{name}.down.sql").read())
    cursor.execute("DELETE FROM schema_migrations WHERE name = %s", [name])
    print(f"reversed {name}")
    sys.exit(0)
for path in sorted(glob.glob("migrations/*.sql")):
    name = os.path.basename(path)[:-4]
    if name.endswith(".down") or name in applied:
        continue
    cursor.execute(open(path).read())
    cursor.execute("INSERT INTO schema_migrations (name) VALUES (%s)", [name])
    print(f"applied {name}")

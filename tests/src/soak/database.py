"""The deployment's database, whose files lie below a directory: holds their lock until stdin ends, or carries out a statement."""

import glob
import sqlite3
import sys

state, what, *arguments = sys.argv[1:]
files = glob.glob(state + "/**/*D1*/*.sqlite", recursive=True)
databases = [sqlite3.connect(path, isolation_level=None, timeout=30) for path in files]
if what == "hold":
    for database in databases:
        database.execute("BEGIN EXCLUSIVE")
    print(len(databases), flush=True)
    sys.stdin.read()
else:
    changed = 0
    for database in databases:
        if database.execute("SELECT 1 FROM sqlite_master WHERE name = 'keys'").fetchone():
            changed += database.execute(what, arguments).rowcount
    print(changed)

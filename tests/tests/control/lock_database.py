# Locks the databases of a deployment's D1, which are below the directory of the first argument, until its stdin ends. Prints how many.
import glob
import sqlite3
import sys

files = glob.glob(sys.argv[1] + "/**/*D1*/*.sqlite", recursive=True)
locked = [sqlite3.connect(path, isolation_level=None, timeout=30) for path in files]
for database in locked:
    database.execute("BEGIN EXCLUSIVE")
print(len(locked), flush=True)
sys.stdin.read()

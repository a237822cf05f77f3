# Cuts the end off the audit of one sandbox, in the storage of its Durable Object, while no runtime has it in memory.
# Arguments: the directory of the stack's state, the id of a request that the audit has, the first record to remove.
import pathlib
import sqlite3
import sys

state, request, first = sys.argv[1], sys.argv[2], int(sys.argv[3])
cut = 0
for file in pathlib.Path(state).rglob("*.sqlite"):
    database = sqlite3.connect(file, timeout=10)
    tables = {name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    if "audit" not in tables:
        continue
    if database.execute("SELECT 1 FROM audit WHERE request_id = ?", (request,)).fetchone():
        cut += database.execute("DELETE FROM audit WHERE id >= ?", (first,)).rowcount
        database.commit()
    database.close()
print(cut)

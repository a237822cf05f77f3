"""Damages the largest object of the deployment's buckets whose key begins so: one byte is changed, and back by a second time, or it is removed."""

import glob
import os
import sqlite3
import sys

state, prefix, what = sys.argv[1:]
for path in glob.glob(state + "/**/*R2BucketObject/*.sqlite", recursive=True):
    with sqlite3.connect(path, timeout=60) as bucket:
        if not bucket.execute("SELECT 1 FROM sqlite_master WHERE name = '_mf_objects'").fetchone():
            continue
        found = bucket.execute(
            "SELECT key, blob_id FROM _mf_objects WHERE substr(key, 1, ?) = ? ORDER BY size DESC", (len(prefix), prefix)
        ).fetchone()
        if not found:
            continue
        key, blob = found
        if what == "remove":
            bucket.execute("DELETE FROM _mf_objects WHERE key = ?", (key,))
        else:
            [file] = glob.glob(f"{state}/**/blobs/{blob}", recursive=True)
            with open(file, "r+b") as content:
                content.seek(os.path.getsize(file) // 2)
                byte = content.read(1)[0]
                content.seek(-1, os.SEEK_CUR)
                content.write(bytes([byte ^ 1]))
        print(key)

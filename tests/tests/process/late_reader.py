# Reads nothing until there is a file `go`, then everything, and prints its digest.
import hashlib
import os
import time

while not os.path.exists("go"):
    time.sleep(0.02)
digest = hashlib.sha256()
while piece := os.read(0, 10_000):
    digest.update(piece)
print(digest.hexdigest())

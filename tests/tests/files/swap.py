# Swaps the directory `real` and the symlink `evil` as quickly as it can, in the directory of the first argument, until there is a file
# `stop` where it was started.
import ctypes
import os
import sys

stop = os.path.abspath("stop")
os.chdir(sys.argv[1])
libc = ctypes.CDLL(None)
AT_FDCWD, RENAME_EXCHANGE = -100, 2
while not os.path.exists(stop):
    assert libc.renameat2(AT_FDCWD, b"real", AT_FDCWD, b"evil", RENAME_EXCHANGE) == 0

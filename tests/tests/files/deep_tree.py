# Makes a tree of 600 levels, of the name in the first argument. Each level has a file `f` and the next level `d`, and with the argument
# `siblings` an empty directory `e`. The agent, whose child this is, may from then on open less than a descriptor for each level.
import os
import resource
import sys

hard = resource.prlimit(os.getppid(), resource.RLIMIT_NOFILE)[1]
resource.prlimit(os.getppid(), resource.RLIMIT_NOFILE, (128, hard))
os.mkdir(sys.argv[1])
os.chdir(sys.argv[1])
for _ in range(600):
    open("f", "w").close()
    os.mkdir("d")
    if "siblings" in sys.argv:
        os.mkdir("e")
    os.chdir("d")

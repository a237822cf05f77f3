# Becomes a program, in whose root `dead` is a FUSE file system whose server never answers, and which only it sees. Takes root.
# Usage: dead_mount.py program
import ctypes, os, sys

directory = os.path.join(os.environ["CABANA_ROOTS"], "dead")
os.makedirs(directory, exist_ok=True)
fuse = os.open("/dev/fuse", os.O_RDWR)
os.set_inheritable(fuse, True)
libc = ctypes.CDLL(None, use_errno=True)
options = f"fd={fuse},rootmode=40000,user_id=0,group_id=0".encode()
if libc.mount(b"dead", directory.encode(), b"fuse", 0, options):
    raise OSError(ctypes.get_errno(), "mount")
os.execvp(sys.argv[1], sys.argv[1:])

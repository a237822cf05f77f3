# Becomes a program that is refused a system call, as by a seccomp profile, or by a file system that fails: the call that the first
# argument names, whenever the call's third argument is at least the second one here, with the error of the third. What the program starts
# is refused it, too.
import ctypes
import os
import platform
import struct
import sys

name, least, errno, *program = sys.argv[1:]
number = {"openat2": {}, "write": {"x86_64": 1, "aarch64": 64}}[name].get(platform.machine(), 437)


def load(offset):
    return (0x20, 0, 0, offset)


code = [
    load(0),
    (0x15, 0, 3, number),
    load(32),
    (0x35, 0, 1, int(least)),
    (6, 0, 0, 0x50000 | int(errno)),
    (6, 0, 0, 0x7FFF0000),
]
filter = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *instruction) for instruction in code))
header = ctypes.create_string_buffer(struct.pack("HxxxxxxP", len(code), ctypes.addressof(filter)))
libc = ctypes.CDLL(None)
assert libc.prctl(38, 1, 0, 0, 0) == 0 and libc.prctl(22, 2, header, 0, 0) == 0
os.execv(program[0], program)

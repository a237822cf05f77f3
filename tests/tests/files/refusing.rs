//! Having the kernel refuse a system call, as a seccomp profile does, or a file system that fails.

/// Becomes a program that is refused a call, named by its first argument, whenever the call's third argument is at least the second,
/// with the error of the third. What the program starts is refused it, too.
pub(crate) const REFUSING: &str = "import ctypes, os, platform, struct, sys\n\
    name, least, errno, *program = sys.argv[1:]\n\
    number = {'openat2': {}, 'write': {'x86_64': 1, 'aarch64': 64}}[name].get(platform.machine(), 437)\n\
    load = lambda offset: (0x20, 0, 0, offset)\n\
    code = [load(0), (0x15, 0, 3, number), load(32), (0x35, 0, 1, int(least)), (6, 0, 0, 0x50000 | int(errno)), (6, 0, 0, 0x7fff0000)]\n\
    filter = ctypes.create_string_buffer(b''.join(struct.pack('HBBI', *instruction) for instruction in code))\n\
    header = ctypes.create_string_buffer(struct.pack('HxxxxxxP', len(code), ctypes.addressof(filter)))\n\
    libc = ctypes.CDLL(None)\n\
    assert libc.prctl(38, 1, 0, 0, 0) == 0 and libc.prctl(22, 2, header, 0, 0) == 0\n\
    os.execv(program[0], program)";

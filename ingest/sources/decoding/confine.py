"""What a process that decodes strangers' media gives up before it reads their first byte."""

from __future__ import annotations

import contextlib
import ctypes
import os
import platform
import resource
import signal
import struct
import sys
from pathlib import Path

_PR_SET_PDEATHSIG, _PR_SET_SECCOMP, _PR_SET_NO_NEW_PRIVS, _SECCOMP_MODE_FILTER = 1, 22, 38, 2
_ALLOW, _EPERM, _ENOSYS = 0x7FFF0000, 0x00050000 | 1, 0x00050000 | 38
_CLONE_THREAD = 0x10000
_X32 = 0x40000000
# Numbers from the kernel's asm/unistd_64.h and asm-generic/unistd.h: opening and changing files, sockets, programs,
# other processes, kernel facilities with a large surface, and raising the limits below.
_DENIED = {
    "x86_64": (
        *(2, 85, 257, 304, 303, 437),  # open, creat, openat, *_handle_at, openat2
        *(41, 42, 43, 49, 50, 53, 288),  # socket, connect, accept, bind, listen, socketpair, accept4
        *(57, 58, 59, 322),  # fork, vfork, execve, execveat
        *(62, 101, 129, 200, 234, 297, 310, 311, 424, 434, 438),  # signals, ptrace, process_vm_*, pidfd_*
        *(76, 77, 82, 83, 84, 86, 87, 88, 90, 91, 92, 93, 94, 132, 133, 235),  # files by path and descriptor
        *(258, 259, 260, 261, 263, 264, 265, 266, 268, 280, 316, 452),  # the same, *at
        *(188, 189, 190, 197, 198, 199),  # extended attributes
        *(155, 161, 165, 166, 175, 246, 272, 308, 313, 320),  # mount, chroot, modules, namespaces
        *(29, 64, 68, 240),  # System V and POSIX queues
        *(160, 302),  # setrlimit, prlimit64
        *(248, 249, 250, 298, 319, 321, 323, 425, 426, 427),  # keys, perf, memfd, bpf, userfaultfd, io_uring
    ),
    "aarch64": (
        *(56, 264, 265, 437),
        *(198, 199, 200, 201, 202, 203, 242),
        *(221, 281),
        *(117, 129, 130, 131, 138, 240, 270, 271, 424, 434, 438),
        *(33, 34, 35, 36, 37, 38, 45, 46, 52, 53, 54, 55, 88, 276, 452),
        *(5, 6, 7, 14, 15, 16),
        *(39, 40, 41, 51, 97, 104, 105, 268, 273, 294),
        *(180, 186, 190, 194),
        *(164, 261),
        *(217, 218, 219, 241, 279, 280, 282, 425, 426, 427),
    ),
}
_CLONE = {"x86_64": 56, "aarch64": 220}
_CLONE3 = 435
_ARCHITECTURE = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}


def confine(memory: int, cpu_s: int) -> None:
    """Give up new files, sockets, programs and privileges, for good, and bound memory (bytes) and processor time (s).

    Processor time beyond ``cpu_s`` ends the process by SIGXCPU. On Linux the process goes when its parent does, and
    system calls for what it gave up are refused by the kernel (seccomp); elsewhere only by the limits: no descriptor
    is left for a file or a socket, and no byte can be written to a file.
    """
    linux = sys.platform.startswith("linux")
    if linux:
        libc = ctypes.CDLL(None, use_errno=True)
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    _limit(resource.RLIMIT_CORE, 0)
    _limit(resource.RLIMIT_FSIZE, 0)
    _limit(resource.RLIMIT_CPU, cpu_s, cpu_s + 5)
    held = _mapped()
    if held:
        _limit(resource.RLIMIT_AS, held + memory)
    highest = max(int(name) for name in os.listdir("/dev/fd") if name.isdigit())  # noqa: PTH208
    # The listing itself took a descriptor, which may be the highest.
    with contextlib.suppress(OSError):
        os.fstat(highest)
        highest += 1
    _limit(resource.RLIMIT_NOFILE, highest)
    if linux:
        libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
        _filter_calls(libc)


def _limit(which: int, soft: int, hard: int | None = None) -> None:
    # A limit that is lower already stays.
    now = resource.getrlimit(which)[1]
    bounded = [value if now == resource.RLIM_INFINITY else min(value, now) for value in (soft, hard or soft)]
    resource.setrlimit(which, (bounded[0], bounded[1]))


def _mapped() -> int:
    """Return the bytes of address space in use; 0 where the system doesn't say (there the limit isn't kept, either)."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    except OSError:
        return 0


def _filter_calls(libc: ctypes.CDLL) -> None:
    """Have the kernel refuse `_DENIED` with EPERM, in this and every later thread (seccomp, classic BPF)."""
    machine = platform.machine()
    if machine not in _DENIED:
        return
    program = _program(machine)
    code = ctypes.create_string_buffer(program, len(program))

    class Program(ctypes.Structure):
        _fields_ = (("length", ctypes.c_ushort), ("code", ctypes.c_void_p))

    block = Program(len(program) // 8, ctypes.addressof(code))
    # Some sandboxes refuse a further filter; the limits above hold without.
    libc.prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.byref(block), 0, 0)


def _program(machine: str) -> bytes:
    load, equal, at_least, any_bit, leave = 0x20, 0x15, 0x35, 0x45, 0x06
    steps = [
        (load, 0, 0, 4),  # seccomp_data.arch
        (equal, 1, 0, _ARCHITECTURE[machine]),
        (leave, 0, 0, _EPERM),
        (load, 0, 0, 0),  # seccomp_data.nr
        (at_least, 0, 1, _X32),
        (leave, 0, 0, _EPERM),
        # C libraries fall back from clone3, whose flags can't be seen here, to clone.
        (equal, 0, 1, _CLONE3),
        (leave, 0, 0, _ENOSYS),
        (equal, 0, 4, _CLONE[machine]),
        (load, 0, 0, 16),  # its flags
        (any_bit, 0, 1, _CLONE_THREAD),
        (leave, 0, 0, _ALLOW),
        (leave, 0, 0, _EPERM),
    ]
    for number in _DENIED[machine]:
        steps += [(equal, 0, 1, number), (leave, 0, 0, _EPERM)]
    steps.append((leave, 0, 0, _ALLOW))
    return b"".join(struct.pack("<HBBI", *step) for step in steps)

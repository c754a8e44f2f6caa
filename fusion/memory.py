"""Keep freed memory in the process, for programs that allocate large tensors again and again.

glibc returns every freed block of 32 MB or more to the system and pays for it anew, page by page, at the next
allocation: on a CPU that costs more than the arithmetic of a network in between. Programs call this once, at start;
importing the library never does.
"""

from __future__ import annotations

import ctypes
import sys

# malloc.h
M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_MAX = -1, -2, -4


def keep_freed_memory() -> bool:
    """Tell glibc to serve large blocks from its heap and to keep it; False where the allocator is another one."""
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):  # musl, for one, has no mallopt
        return False
    settings = ((M_MMAP_MAX, 0), (M_TRIM_THRESHOLD, 2**31 - 1), (M_TOP_PAD, 64 * 2**20))
    return all(mallopt(name, value) for name, value in settings)

"""Memory of the programs: what was freed is kept for the next large tensors; a lack of it is told from other errors.

glibc returns every freed block of 32 MB or more to the system and pays for it anew, page by page, at the next
allocation: on a CPU that costs more than the arithmetic of a network in between. Programs call this once, at start;
importing the library never does.
"""

from __future__ import annotations

import ctypes
import sys

# malloc.h
M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_MAX = -1, -2, -4

NO_MEMORY = ("out of memory", "allocate memory", "not enough memory", "status_alloc_failed")
"""What PyTorch says on a CPU (a plain RuntimeError), CUDA, cuBLAS and cuDNN; not "illegal memory access"."""


def is_about_memory(error: BaseException) -> bool:
    """Whether smaller tensors would help."""
    return isinstance(error, MemoryError) or any(words in str(error).lower() for words in NO_MEMORY)


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

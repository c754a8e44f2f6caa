"""keep_freed_memory: large blocks are not fetched anew from the system."""

import subprocess
import sys

import pytest

PROGRAM = """
import ctypes, resource, sys
from fusion.memory import keep_freed_memory
kept = sys.argv[1] == "keep" and keep_freed_memory()
size = 64 * 2**20
libc = ctypes.CDLL(None)
libc.malloc.restype, libc.malloc.argtypes, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_size_t], [ctypes.c_void_p]
for i in range(6):
    block = libc.malloc(size)
    ctypes.memset(block, 1, size)
    libc.free(block)
    if i == 0:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
print(kept, resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="tells glibc")
def test_page_faults_are_paid_once(root):
    def run(how):
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, how], cwd=root, capture_output=True, text=True, check=True
        )
        kept, faults = done.stdout.split()
        return kept == "True", int(faults)

    kept, faults = run("keep")
    if not kept:
        pytest.skip("another allocator than glibc's")
    assert faults < 100
    assert run("leave")[1] > 100  # 5 x 64 MB in pages of 4 kB (or 2 MB)

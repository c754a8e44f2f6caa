"""Large blocks are not fetched anew from the system; a lack of memory is told from other errors."""

import subprocess
import sys

import pytest
import torch

from fusion.memory import is_about_memory

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


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
        RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory: you tried to ..."),
        RuntimeError("[enforce fail] DefaultCPUAllocator: not enough memory: you tried to allocate 8 bytes."),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
    ],
)
def test_a_lack_of_memory_is_recognised(error):
    assert is_about_memory(error)


@pytest.mark.parametrize(
    "message", ["CUDA error: an illegal memory access was encountered", "unsupported memory format option", ""]
)
def test_other_errors_speak_of_memory_too(message):
    """After an illegal access the GPU answers nothing more: a smaller picture will not help."""
    assert not is_about_memory(RuntimeError(message))

"""glibc's allocator, told to keep what is freed: what a forward pass frees, the next operation needs again."""

import ctypes
import os
import platform
from functools import lru_cache

# mallopt's parameters (malloc.h), and the largest number that it takes.
TRIM_THRESHOLD, MMAP_THRESHOLD, LARGEST = -1, -3, 2**31 - 1
# Who sets these has chosen an allocator, or how it works.
CHOSEN = ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "GLIBC_TUNABLES", "LD_PRELOAD")


@lru_cache(maxsize=1)
def keep_freed_memory() -> bool:
    """Let this process keep freed memory instead of giving it back to the system; returns whether it does now.

    By default glibc maps every block of 32 MiB or more anew, so that the system has to find and clear each of its
    pages for every large feature map. The process keeps as much as it needed at most. Nothing changes under another
    C library, or where the environment already says how to allocate.
    """
    if platform.libc_ver()[0] != "glibc" or any(name in os.environ for name in CHOSEN):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    return mallopt is not None and all([mallopt(name, LARGEST) for name in (MMAP_THRESHOLD, TRIM_THRESHOLD)])

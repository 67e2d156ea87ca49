"""glibc's allocator keeps freed memory: large blocks come without new pages, and a user's own choice stays."""

import platform
import subprocess
import sys

import pytest

needs_glibc = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="mallopt is glibc's")

FAULTS = """
import resource
from nightlab.modeling.cpu_memory import keep_freed_memory

print(keep_freed_memory())
import torch

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.empty(2**24).fill_(1)  # 64 MiB
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

for _ in range(5):
    faults()
print(faults())
"""


def faults(**environment: str) -> tuple[str, int]:
    """What keeping memory returned in a new process, and how many new pages 64 MiB needed once others were freed."""
    done = subprocess.run([sys.executable, "-c", FAULTS], capture_output=True, text=True, env=environment, check=True)
    kept, pages = done.stdout.split()
    return kept, int(pages)


@needs_glibc
def test_freed_memory_is_used_again() -> None:
    kept, pages = faults(OMP_NUM_THREADS="1")
    assert kept == "True" and pages < 1000, "64 MiB are 16,384 pages"


@needs_glibc
def test_a_users_own_choice_stays() -> None:
    assert faults(OMP_NUM_THREADS="1", MALLOC_MMAP_THRESHOLD_="1048576")[0] == "False"

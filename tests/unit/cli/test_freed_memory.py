"""A process that trains keeps the memory that it frees: the next step finds its pages there."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

FAULTS = """
import resource
import numpy as np
from toolchain.cli.freed_memory import keep_freed_memory
if {keeps}:
    keep_freed_memory()
np.ones(1 << 23)  # 64 MiB, freed at once
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(4):
    np.ones(1 << 23)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="mallopt is of the GNU C library")
def test_large_arrays_are_taken_again_without_new_pages():
    kept, given_back = (
        int(subprocess.run([sys.executable, "-c", FAULTS.format(keeps=k)], capture_output=True, check=True).stdout)
        for k in (True, False)
    )

    assert kept < 100 < given_back

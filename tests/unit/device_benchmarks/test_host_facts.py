"""What the host tells about itself and its memory, and what happens where it does not."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from device_benchmarks import environment as facts
from device_benchmarks.process_memory import memory_now, peak_rss_bytes

ON_LINUX = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs /proc")


def test_memory_is_none_where_the_system_has_no_proc(tmp_path: Path) -> None:
    snapshot = memory_now(tmp_path / "smaps_rollup")

    assert (snapshot.pss_bytes, snapshot.private_dirty_bytes) == (None, None)
    assert peak_rss_bytes(tmp_path / "status") is None


def test_kilobyte_lines_are_read_and_others_skipped(tmp_path: Path) -> None:
    (tmp_path / "smaps").write_text(
        "55b8-7ffc ---p 0 00:00 0 [rollup]\nRss: 10 kB\nPss: 7 kB\nPrivate_Dirty: 3 kB\nX: 1\n"
    )

    snapshot = memory_now(tmp_path / "smaps")

    assert (snapshot.pss_bytes, snapshot.private_dirty_bytes) == (7 * 1024, 3 * 1024)


@ON_LINUX
def test_a_large_array_shows_in_the_private_memory() -> None:
    """In a process of its own: a long-lived one gives back other memory meanwhile, or has freed pages to put the array in."""
    script = """
        import numpy as np
        from device_benchmarks.process_memory import memory_now
        before = memory_now().private_dirty_bytes
        array = np.ones(32 * 2**20, np.uint8)
        print(memory_now().private_dirty_bytes - before)
    """
    run = subprocess.run([sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True, check=True)

    assert 30 * 2**20 < int(run.stdout) < 40 * 2**20


def test_the_environment_names_the_machine_and_the_libraries() -> None:
    environment = facts.environment()

    assert {"cpu", "cores", "ram_bytes", "kernel", "governor"} <= set(environment["device"])
    assert {"numpy", "pocketgnn"} <= set(environment["libraries"])


def test_the_processor_is_named_by_its_model_name_not_its_model_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text(
        "processor : 0\nmodel : 17\nmodel name : Acme 9000\n\nprocessor : 1\nmodel : 17\nmodel name : Acme 9000\n"
    )
    monkeypatch.setattr(facts, "CPUINFO", cpuinfo)

    assert facts.cpu_model() == "Acme 9000"

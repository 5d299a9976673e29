"""Memory of this process as Linux accounts for it; other systems answer None, never 0."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

SMAPS = Path("/proc/self/smaps_rollup")
STATUS = Path("/proc/self/status")


@dataclass(frozen=True, slots=True)
class MemorySnapshot:
    """Bytes, or None where the system does not tell.

    Attributes:
        pss_bytes: proportional set size: private pages, plus each shared page divided by the processes that map it.
        private_dirty_bytes: pages that only this process holds and has written.
    """

    pss_bytes: int | None
    private_dirty_bytes: int | None


def memory_now(smaps: Path = SMAPS) -> MemorySnapshot:
    """Memory at this moment."""
    fields = kilobyte_fields(_text(smaps))
    return MemorySnapshot(fields.get("Pss"), fields.get("Private_Dirty"))


def peak_rss_bytes(status: Path = STATUS) -> int | None:
    """Largest resident set since the process started (VmHWM)."""
    return kilobyte_fields(_text(status)).get("VmHWM")


def kilobyte_fields(text: str) -> dict[str, int]:
    """The "Name:  123 kB" lines of a /proc file, in bytes."""
    fields = {}
    for line in text.splitlines():
        name, _, rest = line.partition(":")
        words = rest.split()
        if len(words) == 2 and words[1] == "kB" and words[0].isdigit():
            fields[name] = int(words[0]) * 1024
    return fields


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii", errors="replace")
    except OSError:  # not Linux, or /proc is not readable here
        return ""

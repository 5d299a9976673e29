"""RunFolder: a folder on a device that is there for one run: files in and out with their sha256, programs, and no trace."""

from __future__ import annotations

import contextlib
import hashlib
import re
import secrets
import selectors
import shlex
import subprocess
import time
from collections.abc import Sequence
from types import TracebackType
from typing import Self

from device_benchmarks.transports.connection import Connection
from device_benchmarks.transports.transport import Completed, Transport, stop
from toolchain.errors import DeviceBusy, DeviceError, DeviceTimeout

SECONDS = 30.0  # for what takes a moment on any device
BYTES_PER_SECOND = 100_000  # a slower connection counts as hung
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]*")

# Holds the folder and the lock of its device as long as its input is open, and removes both when that ends: when we say so, and
# as well when we die or the connection is cut, when nobody hears it any more. A lock whose holder has died is taken over, with
# the folder it had.
_KEEPER = """
trap '' HUP PIPE
umask 077
name={name}
for base in {folders}; do [ -d "$base" ] && [ -w "$base" ] && break; done
cd "$base" || exit 1
lock="$base/pocketgnn-lock"
take() {{ (set -C; echo "$$ $name" >"$lock") 2>/dev/null; }}
if ! take; then
    read -r pid other <"$lock" || other=
    case "$other" in
    pocketgnn-run-*[!0-9a-f]*) ;;
    pocketgnn-run-?*) if ! grep -q "$other" "/proc/$pid/cmdline" 2>/dev/null; then rm -rf "$base/$other"; rm -f "$lock"; take; fi ;;
    esac
    read -r pid other <"$lock" || other=
    if [ "$other" != "$name" ]; then [ -e "$lock" ] && echo busy || echo full; exit 1; fi
fi
mkdir "$base/$name" || {{ rm -f "$lock"; echo full; exit 1; }}
echo "ready $base/$name"
cat >/dev/null
{remove}
echo removed
"""
_REMOVE = """
read -r pid 2>/dev/null <"$base/$name/.pid" && [ "$(readlink "/proc/$pid/cwd")" = "$base/$name" ] && kill -9 "$pid"
rm -rf "$base/$name"
read -r pid other 2>/dev/null <"$lock" && [ "$other" = "$name" ] && rm -f "$lock"
"""
_RUN = 'echo $$ >.pid && exec "$@"'


class RunFolder(Connection):
    """A folder of our own naming on a device, and the only run on that device while it is there.

    Leaving the context ends what still runs in it and removes it, also after a failure, and also when the connection was lost
    in between; where the device is gone for good, it removes the folder itself.

    Attributes:
        path: on the device.
    """

    def __init__(self, transport: Transport) -> None:
        self.transport, self.name, self.kind = transport, transport.name, transport.kind
        self.path = ""
        self._name = f"pocketgnn-run-{secrets.token_hex(8)}"
        self._keeper: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        """Make the folder.

        Raises:
            DeviceBusy: another run holds the device.
            DeviceError: the device cannot be reached, or has no room for a folder.
        """
        remove = _REMOVE.strip()
        folders = shlex.join(self.transport.folders)
        self._keeper = self.transport.start(_KEEPER.format(name=self._name, folders=folders, remove=remove))
        word, _, rest = self._heard(SECONDS).partition(" ")
        if word == "ready" and rest.startswith("/"):
            self.path = rest
            return self
        error = self._last_words()
        self._end_keeper()
        if word == "busy":
            raise DeviceBusy(f"{self.name}: another run holds the device. Wait until it has ended.")
        if word == "full":
            raise DeviceError(
                f"{self.name}: no folder can be made in {' or '.join(self.transport.folders)} "
                f"({error or 'no reason given'}). "
                "Make room on the device, or allow writing there."
            )
        raise DeviceError(f"{self.name}: {self.transport.explain(error)}")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        keeper = self._keeper
        assert keeper is not None and keeper.stdin is not None
        with contextlib.suppress(OSError):
            keeper.stdin.close()
        removed = self._heard(SECONDS) == "removed"
        self._end_keeper()
        if not removed:
            self._remove()

    def put(self, name: str, data: bytes, *, is_program: bool = False) -> None:
        """Write a file, read it back as its sha256, and once more if that is another.

        Raises:
            DeviceError: the device has no room, or stores other bytes than were sent.
        """
        path, expected = shlex.quote(self._file(name)), hashlib.sha256(data).hexdigest()
        mode = f"chmod 700 {path} && " if is_program else ""
        # What a full disk does not take is read all the same: else the connection may end before the status arrives.
        stored = f"{{ cat >{path} || {{ status=$?; cat >/dev/null; (exit $status); }}; }}"
        script = f"{stored} && {mode}{{ sha256sum {path} || shasum -a 256 {path}; }}"
        for _ in range(2):
            done = self.transport.script(script, seconds=SECONDS + len(data) / BYTES_PER_SECOND, data=data)
            if done.status:
                raise DeviceError(
                    f"{self.name}: {name} ({len(data):,} B) cannot be stored ({done.first_line}). "
                    "Make room on the device."
                )
            found = done.output.decode(errors="replace").split()[:1]
            if found == [expected]:
                return
        raise DeviceError(
            f"{self.name}: {name} arrived with sha256 {found[0] if found else '?'}, twice; expected {expected}. "
            "The connection or the device's storage damages data."
        )

    def get(self, name: str) -> bytes:
        """Read a file of at most some hundred megabytes.

        Raises:
            DeviceError: it is not there, or arrives with another sha256 than it has, twice.
        """
        path = shlex.quote(self._file(name))
        for _ in range(2):
            done = self.transport.script(
                f"{{ sha256sum {path} || shasum -a 256 {path}; }} && cat {path}", seconds=20 * SECONDS
            )
            if done.status:
                raise DeviceError(f"{self.name}: {name} cannot be read ({done.first_line}).")
            line, _, data = done.output.partition(b"\n")
            if line.split()[:1] == [hashlib.sha256(data).hexdigest().encode()]:
                return data
        raise DeviceError(f"{self.name}: {name} arrives damaged, twice. The connection damages data.")

    def run(self, command: Sequence[str], *, seconds: float) -> Completed:
        """Run a program in the folder; it is ended when time is over.

        Raises:
            DeviceError: the connection was lost.
            DeviceTimeout: it had not ended in time, and has been ended.
        """
        inner = shlex.join(["sh", "-c", _RUN, "sh", *command])
        try:
            return self.transport.script(f"(cd {shlex.quote(self.path)} && {inner}) </dev/null", seconds=seconds)
        except DeviceTimeout:
            pid = shlex.quote(self._file(".pid"))
            self.transport.script(f'read -r pid <{pid} && kill -9 "$pid"', seconds=SECONDS)
            raise DeviceTimeout(f"{self.name}: {command[0]} had not ended after {seconds:g} s and was ended.") from None

    def _file(self, name: str) -> str:
        if name != ".pid" and _NAME.fullmatch(name) is None:
            raise DeviceError(
                f"{self.name}: {name!r} is no name for a file on a device; names are of letters, digits and ._+-."
            )
        return f"{self.path}/{name}"

    def _heard(self, seconds: float) -> str:
        """The next line of the keeper; empty where none comes."""
        keeper = self._keeper
        assert keeper is not None and keeper.stdout is not None
        line, end = b"", time.monotonic() + seconds
        with selectors.DefaultSelector() as selector:
            selector.register(keeper.stdout, selectors.EVENT_READ)
            while not line.endswith(b"\n") and selector.select(max(end - time.monotonic(), 0)):
                byte = keeper.stdout.read1(1)  # type: ignore[attr-defined]  # a pipe is a BufferedReader
                if not byte:
                    break
                line += byte
        return line.decode(errors="replace").strip()

    def _last_words(self) -> str:
        keeper = self._keeper
        assert keeper is not None
        with contextlib.suppress(subprocess.TimeoutExpired, ValueError):
            lines = keeper.communicate(b"", timeout=SECONDS)[1].decode(errors="replace").strip().splitlines()
            return lines[-1].strip().rstrip(".") if lines else ""
        return ""

    def _end_keeper(self) -> None:
        if self._keeper is not None:
            stop(self._keeper)
            self._keeper = None

    def _remove(self) -> None:
        """Remove the folder by a new connection; without one, the device has done so, or the next run will."""
        base, name = self.path.rsplit("/", 1)
        head = f"base={shlex.quote(base)}; name={name}; lock={shlex.quote(f'{base}/pocketgnn-lock')}\n"
        with contextlib.suppress(DeviceError):
            self.transport.script(head + _REMOVE, seconds=SECONDS)

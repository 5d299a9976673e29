"""A TCP proxy on the loopback interface that can be cut, at once or after so many bytes, and that can damage what passes."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable


class Proxy:
    """Passes connections on until it is cut; afterwards it takes none.

    Args:
        connect: opens a connection to what lies behind.
    """

    def __init__(self, connect: Callable[[], socket.socket]) -> None:
        self._connect = connect
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._sockets: list[socket.socket] = []
        self._remaining: int | None = None
        self._damage: tuple[bytes, bytes] | None = None
        self._damages = 0
        self._lock = threading.Lock()
        self.is_cut = False
        threading.Thread(target=self._accept, daemon=True).start()

    def cut_after(self, count: int) -> None:
        """Cut when the client has sent so many bytes from now on."""
        self._remaining = count

    def damage(self, old: bytes, new: bytes, times: int) -> None:
        """Change bytes that the client sends, so many times from now on."""
        self._damage, self._damages = (old, new), times

    def cut(self) -> None:
        """Cut all connections, and refuse new ones."""
        self.is_cut = True
        with self._lock:
            sockets = [*self._sockets, self._listener]
        for end in sockets:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()

    def _accept(self) -> None:
        while not self.is_cut:
            try:
                client, _ = self._listener.accept()
                server = self._connect()
            except OSError:
                continue
            with self._lock:
                self._sockets += [client, server]
            threading.Thread(target=self._pass, args=(client, server, True), daemon=True).start()
            threading.Thread(target=self._pass, args=(server, client, False), daemon=True).start()

    def _pass(self, source: socket.socket, target: socket.socket, is_client: bool) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 14):
                if is_client and self._remaining is not None:
                    self._remaining -= len(data)
                    if self._remaining < 0:
                        self.cut()
                        return
                if is_client and self._damages and self._damage and self._damage[0] in data:
                    data = data.replace(*self._damage, 1)
                    self._damages -= 1
                target.sendall(data)
        for end in (source, target):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

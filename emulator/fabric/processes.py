"""A command in a CVM, as ``subprocess.Popen`` knows one: signals that reach it, and output that ends when it does."""

from __future__ import annotations

import contextlib
import os
import select
import selectors
import signal
import subprocess
import threading
import time
from pathlib import Path
from typing import IO, Any, cast


class GuestProcess(subprocess.Popen[Any]):
    """A command in a CVM. As ``subprocess.Popen``, but signals reach the command itself, not the nsenter around it, and
    ``kill`` also ends what the command has started (not what has made itself a session of its own)."""

    def send_signal(self, sig: int) -> None:
        self.poll()
        if self.returncode is not None:
            return
        children = Path(f"/proc/{self.pid}/task/{self.pid}/children")
        with contextlib.suppress(OSError, ValueError, IndexError):
            os.kill(int(children.read_text().split()[0]), sig)
            return
        super().send_signal(sig)  # it has no child yet, or the kernel does not list children

    def kill(self) -> None:
        self.poll()
        if self.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                if os.getpgid(self.pid) == self.pid:
                    os.killpg(self.pid, signal.SIGKILL)
                else:
                    self.send_signal(signal.SIGKILL)

    def result(self, input: str | None, timeout_s: float | None) -> tuple[str, str]:
        """As :meth:`finish`, as text."""
        try:
            stdout, stderr = self.finish((input or "").encode(), timeout_s)
        except subprocess.TimeoutExpired as error:
            said = (_text(error.output or b""), _text(error.stderr or b""))
            raise subprocess.TimeoutExpired(error.cmd, error.timeout, *said) from None
        return _text(stdout), _text(stderr)

    def finish(self, input: bytes, timeout_s: float | None) -> tuple[bytes, bytes]:
        """Wait for the command and return what it wrote; TimeoutExpired, with the command running, after ``timeout_s``.

        As ``communicate``, but it does not wait for what the command left in the background with its output open.
        """
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        chunks: dict[str, list[bytes]] = {"stdout": [], "stderr": []}
        waiting = memoryview(input)
        ended = os.pidfd_open(self.pid)
        try:
            with selectors.DefaultSelector() as selector:
                selector.register(ended, selectors.EVENT_READ)
                for name in chunks:
                    stream = getattr(self, name)
                    os.set_blocking(stream.fileno(), False)
                    selector.register(stream, selectors.EVENT_READ, name)
                if self.stdin is not None:
                    os.set_blocking(self.stdin.fileno(), False)
                    selector.register(self.stdin, selectors.EVENT_WRITE)
                over = False
                while not over:
                    left = None if deadline is None else deadline - time.monotonic()
                    ready = selector.select(left)
                    if not ready and left is not None and left <= 0:
                        said = map(b"".join, chunks.values())
                        raise subprocess.TimeoutExpired(self.args, cast(float, timeout_s), *said)
                    over = any(key.fileobj == ended for key, _ in ready)
                    for key, _ in ready:
                        if key.data:
                            self._read(selector, key, chunks[key.data], everything=over)
                        elif key.fileobj is self.stdin:
                            waiting = self._write(selector, waiting)
                for key in [key for key in selector.get_map().values() if key.data]:
                    self._read(selector, key, chunks[key.data], everything=True)
        finally:
            os.close(ended)
        self.wait()
        for name in chunks:
            stream = getattr(self, name)
            if not stream.closed:
                _drain(stream)
                setattr(self, name, None)
        return b"".join(chunks["stdout"]), b"".join(chunks["stderr"])

    @staticmethod
    def _read(
        selector: selectors.BaseSelector, key: selectors.SelectorKey, chunks: list[bytes], *, everything: bool
    ) -> None:
        """Take what a pipe holds, at least one piece."""
        while True:
            try:
                data = os.read(key.fd, 1 << 16)
            except BlockingIOError:
                return
            if not data:
                selector.unregister(key.fileobj)
                cast("IO[bytes]", key.fileobj).close()
                return
            chunks.append(data)
            if not everything:
                return

    def _write(self, selector: selectors.BaseSelector, waiting: memoryview) -> memoryview:
        assert self.stdin is not None
        try:
            waiting = waiting[os.write(self.stdin.fileno(), waiting[: select.PIPE_BUF]) :] if waiting else waiting
        except BrokenPipeError:
            waiting = waiting[:0]
        if not waiting:
            selector.unregister(self.stdin)
            with contextlib.suppress(BrokenPipeError):
                self.stdin.close()
        return waiting


def _drain(stream: IO[Any]) -> None:
    """Keep reading for what still writes there: it would die of a closed pipe."""

    def read() -> None:
        with stream, contextlib.suppress(OSError):
            os.set_blocking(stream.fileno(), True)
            while os.read(stream.fileno(), 1 << 16):
                pass

    threading.Thread(target=read, name="vpclab-drain", daemon=True).start()


def _text(said: bytes) -> str:
    return said.decode(errors="replace").replace("\r\n", "\n").replace("\r", "\n")

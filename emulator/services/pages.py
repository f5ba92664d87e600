"""Metadata by HTTP: one request a connection."""

from __future__ import annotations

import socket
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from ipaddress import IPv4Address
from urllib.parse import urlsplit

from emulator.cloud.account import Cloud
from emulator.services import metadata


def answer(connection: socket.socket, cloud: Cloud, vpc_id: str, asker: IPv4Address) -> None:
    """Answer the request that comes on a connection; returns when it is done or was hung up on."""
    _Request(connection, str(asker), lambda path: metadata.answer(cloud, vpc_id, asker, path))


class _Request(BaseHTTPRequestHandler):
    server_version, sys_version = "vpclab", ""

    def __init__(self, connection: socket.socket, asker: str, page: Callable[[str], str | None]) -> None:
        self._page = page
        super().__init__(connection, (asker, 0), None)  # type: ignore[arg-type]

    def do_GET(self) -> None:
        found = self._page(urlsplit(self.path).path.rstrip("/"))
        body = ("" if found is None else found).encode()
        self.send_response(404 if found is None else 200)
        self.send_header("Content-Type", "text/plain; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nobody reads it."""

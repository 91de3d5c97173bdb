"""The server: one process on one address, until it is stopped."""

import asyncio
import contextlib
import ipaddress
import socket
from collections.abc import Callable
from typing import Any

import uvicorn
from fastapi import FastAPI
from threadpoolctl import threadpool_limits
from uvicorn.protocols.http.h11_impl import H11Protocol

from crossbatch.errors import SettingError

HEADER_BYTES, HEADER_SECONDS = 16_384, 10.0
CONNECTIONS, BACKLOG = 512, 128
TOKEN = 16  # least number of characters of a token


class Patient(H11Protocol):
    """HTTP/1.1 that closes a connection if the headers of its first or next request do not arrive in time."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start the timer for the first request."""
        super().connection_made(transport)
        self._late = self.loop.call_later(HEADER_SECONDS, self._give_up)

    def on_response_complete(self) -> None:
        """Start the timer for the next request."""
        self._late.cancel()
        self._late = self.loop.call_later(HEADER_SECONDS, self._give_up)
        super().on_response_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the timer."""
        self._late.cancel()
        super().connection_lost(exc)

    def _give_up(self) -> None:
        if (self.cycle is None or self.cycle.response_complete) and not self.transport.is_closing():
            self.transport.close()


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach an address."""
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return host == "localhost"


def check_token(host: str, token: str | None) -> None:
    """Refuse a token that is too short, and an address that other machines can reach without a token."""
    if token is not None and len(token) < TOKEN:
        raise SettingError(f"--token has at least {TOKEN} characters, got {len(token)}")
    if token is None and not is_loopback(host):
        problem = f"--host {host} can be reached from other machines, so it needs a token"
        raise SettingError(f"{problem}: set the variable CROSSBATCH_TOKEN, or --token, to {TOKEN} characters or more")


def bound(host: str, port: int) -> socket.socket:
    """A listening socket on an address; `SettingError` if the address cannot be used."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # With the protocol named, asyncio sends small packets at once (TCP_NODELAY); without it an answer waits 40 ms.
    opened = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        opened.bind((host, port))
        opened.listen(BACKLOG)  # listen at once: else another process could take the port before this one serves
    except socket.gaierror as error:
        opened.close()
        raise SettingError(f"--host {host} is no address of this machine ({error.strerror}): name one") from error
    except OSError as error:
        opened.close()
        problem = f"--host {host} --port {port} cannot be served on ({error.strerror or error})"
        raise SettingError(f"{problem}: name another, as --port {port + 1 if port < 65_535 else 8000}") from error
    return opened


def serve(app: FastAPI, opened: socket.socket, started: Callable[[], Any]) -> None:
    """Serve until SIGINT or SIGTERM, then finish requests in progress; `started` is called once the server is ready."""
    config = uvicorn.Config(
        app,
        http=Patient,
        ws="none",
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        h11_max_incomplete_event_size=HEADER_BYTES,
        limit_concurrency=CONNECTIONS,
        timeout_keep_alive=10,
        timeout_graceful_shutdown=10,
        backlog=BACKLOG,
    )
    server = uvicorn.Server(config)

    async def run() -> None:
        serving = asyncio.create_task(server.serve(sockets=[opened]))
        while not server.started and not serving.done():
            await asyncio.sleep(0.01)
        if server.started:
            started()
        await serving

    # torch has threads of its own. A second pool, that of BLAS, waits busily for the same cores and halves throughput.
    with threadpool_limits(1, user_api="blas"):
        asyncio.run(run())

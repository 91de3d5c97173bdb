"""Checks before every request: host, token, size and speed; and the security headers of every answer."""

import asyncio
import hashlib
import hmac
import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext
from http.cookies import CookieError, SimpleCookie
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from crossbatch.web.limits import Limits, RefusedError

COOKIE = "crossbatch"
OVERHEAD = 65_536  # most bytes of a form, beside its file
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; font-src 'self'; "
    "connect-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "permissions-policy": "camera=(self), microphone=(), geolocation=()",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "x-frame-options": "DENY",
}
SMALL = 32_768  # most bytes of a body that needs no token: room for a token with each character escaped
BY_SIGNS = "application/x-www-form-urlencoded"  # a form parsed by character, which blocks all other requests
OPEN = ("/", "/healthz", "/session", "/favicon.ico")  # paths that need no token, beside the files of the page


class Guard:
    """Middleware that makes the checks; `hosts`: host names that the server accepts, empty for any."""

    def __init__(self, app: ASGIApp, limits: Limits, token: str | None, hosts: Iterable[str]) -> None:
        self.app, self.limits, self.hosts = app, limits, frozenset(hosts)
        self.token = token
        self.session = None if token is None else session_of(token)
        self.searches = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse a request, or read its body and pass it on."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                known = {name for name, _ in message["headers"]}
                more = [(key.encode(), value.encode()) for key, value in HEADERS.items() if key.encode() not in known]
                message = {**message, "headers": [*message["headers"], *more]}
            await send(message)

        try:
            self._check(scope["path"], headers)
            path, has_body = scope["path"], scope["method"] in ("POST", "PUT", "PATCH", "DELETE")
            small = _is_open(path)
            with self._turn() if (has_body and not small) or path.startswith("/similar/") else nullcontext():
                if has_body:
                    receive = _replayed(await self._body(headers, receive, small), receive)
                await self.app(scope, receive, with_headers)
        except RefusedError as error:
            await refuse(error, with_headers)

    @contextmanager
    def _turn(self) -> Iterator[None]:
        if self.searches >= self.limits.waiting:
            raise RefusedError(429, "busy", "too many searches wait: try again in a moment")
        self.searches += 1
        try:
            yield
        finally:
            self.searches -= 1

    def _check(self, path: str, headers: dict[str, str]) -> None:
        if self.hosts and _host(headers.get("host", "")) not in self.hosts:
            raise RefusedError(421, "host", f"this server is reached only as {', '.join(sorted(self.hosts))}")
        of_page = _is_open(path)
        if headers.get("sec-fetch-site") == "cross-site" and not of_page:
            raise RefusedError(403, "cross_site", "pages of other sites may not use this server")
        if self.token is not None and not of_page and not self._is_known(headers):
            raise RefusedError(401, "token", "this server needs its token: open the address that it printed")

    def _is_known(self, headers: dict[str, str]) -> bool:
        kind, _, given = headers.get("authorization", "").partition(" ")
        if kind.lower() == "bearer" and self.token and same(given, self.token):
            return True
        try:
            cookie = SimpleCookie(headers.get("cookie", "")).get(COOKIE)
        except CookieError:
            return False
        return cookie is not None and self.session is not None and same(cookie.value, self.session)

    async def _body(self, headers: dict[str, str], receive: Receive, small: bool) -> bytes:
        """Read the whole body; refuse one that is too large or too slow. `small`: allow `SMALL` bytes only."""
        small = small or headers.get("content-type", "").strip().lower().startswith(BY_SIGNS)
        most = SMALL if small else self.limits.bytes + OVERHEAD
        too_large = f"an upload has {SMALL if small else self.limits.bytes:,} bytes at most"
        length = headers.get("content-length", "0")
        if length.isdecimal() and (len(length) > 18 or int(length) > most):
            raise RefusedError(413, "too_large", too_large)
        body = bytearray()
        try:
            async with asyncio.timeout(self.limits.seconds):
                while True:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        raise RefusedError(408, "slow", "the upload ended before it was whole")
                    body += message.get("body", b"")
                    if len(body) > most:
                        raise RefusedError(413, "too_large", too_large)
                    if not message.get("more_body", False):
                        return bytes(body)
        except TimeoutError:
            raise RefusedError(408, "slow", f"the upload took longer than {self.limits.seconds:g} s") from None


def _is_open(path: str) -> bool:
    return path in OPEN or path.startswith("/page/")


def same(given: str, right: str) -> bool:
    """Whether two texts are equal; the time taken does not depend on how much of them agrees."""
    return hmac.compare_digest(given.encode("utf-8", "replace"), right.encode())


def session_of(token: str) -> str:
    """The value of the session cookie: a digest of the token."""
    return hashlib.sha256(b"crossbatch session " + token.encode()).hexdigest()


def _host(header: str) -> str:
    """The name in a Host header, without its port."""
    name, _, port = header.rpartition(":")
    return (name if port.isdecimal() and name else header).lower()


def _replayed(body: bytes, receive: Receive) -> Receive:
    """A `receive` that first gives the body already read."""
    done = False

    async def replay() -> Message:
        nonlocal done
        if done:
            return await receive()
        done = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replay


async def refuse(error: RefusedError, send: Any) -> None:
    """Answer with an error; close the connection if more of the body may still arrive."""
    content = json.dumps({"error": error.sentence, "code": error.code}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(content)).encode())]
    if error.status in (408, 413, 429):
        headers += [(b"connection", b"close")]
    if error.status == 429:
        headers += [(b"retry-after", b"1")]
    if error.status == 401:
        headers += [(b"www-authenticate", b"Bearer")]
    await send({"type": "http.response.start", "status": error.status, "headers": headers})
    await send({"type": "http.response.body", "body": content})

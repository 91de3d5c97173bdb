"""Tests of the server process: it starts as announced, survives slow and huge requests, and stops when told to."""

import asyncio
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
import uvicorn
from galleries import indexed, model_in
from uvicorn.server import ServerState

from crossbatch.__main__ import main
from crossbatch.errors import SettingError
from crossbatch.web import run as web


class Server(NamedTuple):
    process: subprocess.Popen[str]
    port: int
    folder: Path

    def get(self, path: str) -> bytes:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=60) as answer:
            return answer.read()

    def raw(self, request: bytes, wait: float = 30) -> bytes:
        """The answer to these bytes, until the connection is closed or nothing more comes."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=wait) as link:
            found = b""
            try:
                link.sendall(request)
                while part := link.recv(65_536):
                    found += part
            except (TimeoutError, ConnectionError):
                pass
            return found


def started(folder: Path, *words: str) -> Server:
    command = [sys.executable, "-m", "crossbatch", "serve", str(folder), "--port", "0", *words]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert process.stdout is not None
    said = ""
    for line in process.stdout:
        said += line
        found = re.search(r"^open http://127\.0\.0\.\d:(\d+)/$", line)
        if found:
            return Server(process, int(found[1]), folder)
    raise AssertionError(f"it did not start: {said}")


@pytest.fixture(scope="module")
def folder(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("server")
    shutil.copytree(pictures / "class 1", root / "photos" / "a")
    indexed(root / "gallery", model_in(root / "run"), [root / "photos"])
    return root / "gallery"


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[Server]:
    one = started(folder, "--limits.seconds", "1.5")
    yield one
    one.process.kill()
    one.process.communicate()


def test_it_answers_what_it_printed(server: Server) -> None:
    assert b'"images":6' in server.get("/healthz")
    assert b"<html" in server.get("/")


def test_a_slow_body_is_given_up(server: Server) -> None:
    head = b"POST /search HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; boundary=x\r\n"
    began = time.monotonic()
    assert server.raw(head + b"Content-Length: 5000\r\n\r\nno more").startswith(b"HTTP/1.1 408")
    assert time.monotonic() - began < 20


def test_a_body_that_says_it_is_huge_is_refused_unread(server: Server) -> None:
    head = b"POST /search HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; boundary=x\r\n"
    assert server.raw(head + b"Content-Length: 99999999999\r\n\r\n").startswith(b"HTTP/1.1 413")


def test_huge_headers_are_refused(server: Server) -> None:
    request = b"GET / HTTP/1.1\r\nHost: localhost\r\nX-Large: " + b"x" * 200_000 + b"\r\n\r\n"
    answer = server.raw(request)
    assert not answer or answer.startswith((b"HTTP/1.1 400", b"HTTP/1.1 431"))


async def _held(begun: bytes, asked: bytes) -> float:
    """Seconds that a connection is kept by one that asks, is answered, and then sends no more than a beginning."""

    async def app(scope: dict[str, object], receive: object, send: Callable[..., Awaitable[None]]) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body"})

    loop = asyncio.get_running_loop()
    config = uvicorn.Config(app, http=web.Patient, log_level="critical", timeout_keep_alive=60)
    state = ServerState()
    server = await loop.create_server(lambda: web.Patient(config, state, {}), "127.0.0.1", 0)
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    writer.write(asked)
    if asked:
        assert b"200" in await reader.readuntil(b"\r\n\r\n")
    began = time.monotonic()
    writer.write(begun)
    async with asyncio.timeout(10):
        assert await reader.read() == b""
    writer.close()
    server.close()
    return time.monotonic() - began


@pytest.mark.parametrize("asked", [b"", b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"])
@pytest.mark.parametrize("begun", [b"", b"GET / HT"])
def test_a_connection_without_a_request_is_closed(begun: bytes, asked: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(web, "HEADER_SECONDS", 0.3)
    assert 0.1 < asyncio.run(_held(begun, asked)) < 5


def test_the_address_that_is_printed_answers(folder: Path) -> None:
    one = started(folder, "--host", "127.0.0.2")
    with urllib.request.urlopen(f"http://127.0.0.2:{one.port}/healthz", timeout=60) as answer:
        assert answer.status == 200
    one.process.kill()
    one.process.communicate()


@pytest.mark.parametrize(
    "path", ["/page/../app.py", "/images/../../../etc/passwd", "//etc/passwd", "/page/%2e%2e/app.py"]
)
def test_a_path_as_it_is_written_does_not_get_out(path: str, server: Server) -> None:
    answer = server.raw(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
    assert answer.startswith(b"HTTP/1.1 404"), answer


def test_it_is_well_after_all_that(server: Server) -> None:
    assert b'"status":"ok"' in server.get("/healthz")


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGINT])
def test_it_stops_when_it_is_told_to(end: signal.Signals, folder: Path) -> None:
    one = started(folder)
    assert one.get("/healthz")
    one.process.send_signal(end)
    said, _ = one.process.communicate(timeout=60)
    assert one.process.returncode in ({-signal.SIGTERM, 143} if end == signal.SIGTERM else {0}), said
    assert "Traceback" not in said


def test_it_does_not_leave_this_machine_without_a_token(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["serve", str(folder), "--host", "0.0.0.0"]) == 2
    assert "needs a token" in capsys.readouterr().err
    assert main(["serve", str(folder), "--host", "0.0.0.0", "--token", "short"]) == 2
    assert "at least 16 characters" in capsys.readouterr().err


def test_a_port_that_is_taken_is_named(server: Server, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["serve", str(folder), "--port", str(server.port)]) == 2
    assert f"--port {server.port} cannot be served on" in capsys.readouterr().err


def test_a_port_is_held_from_the_start() -> None:
    with web.bound("127.0.0.1", 0) as held, pytest.raises(SettingError, match="cannot be served on"):
        web.bound("127.0.0.1", held.getsockname()[1])


def test_small_packets_are_sent_at_once() -> None:
    """Else each answer waits 40 ms for the other side's acknowledgement; asyncio asks for the protocol's number."""

    async def option() -> int:
        connected = asyncio.Future[int]()

        def arrived(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            accepted = writer.get_extra_info("socket")
            connected.set_result(accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
            writer.close()

        with web.bound("127.0.0.1", 0) as listening:
            async with await asyncio.start_server(arrived, sock=listening):
                _, asking = await asyncio.open_connection(*listening.getsockname())
                asking.close()
                return await connected

    assert asyncio.run(option())


def test_a_port_that_is_taken_is_refused_before_a_run_is_indexed(
    server: Server, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = model_in(tmp_path / "run")
    assert main(["serve", str(run), "--port", str(server.port), "--data", "folder", "--root", str(pictures)]) == 2
    assert f"--port {server.port} cannot be served on" in capsys.readouterr().err
    assert not (tmp_path / "run" / "gallery").exists()


REFUSING = """
import ipaddress, socket, sys
real = socket.socket.connect
def connect(self, address):
    if self.family != socket.AF_UNIX and not ipaddress.ip_address(address[0]).is_loopback:
        sys.stderr.write(f"OUTSIDE {address}"); raise SystemExit(77)
    return real(self, address)
socket.socket.connect = connect
socket.socket.connect_ex = connect
resolve = socket.getaddrinfo
def getaddrinfo(host, *rest, **more):
    if host not in (None, "localhost", "127.0.0.1", "::1", b"localhost", ""):
        sys.stderr.write(f"OUTSIDE {host}"); raise SystemExit(77)
    return resolve(host, *rest, **more)
socket.getaddrinfo = getaddrinfo
"""


EVERYTHING = """
import sys
from pathlib import Path
from fastapi.testclient import TestClient
from crossbatch.__main__ import main
from crossbatch.encoder import load
from crossbatch.index import Gallery
from crossbatch.web.app import create_app
pictures, out = map(Path, sys.argv[1:])
small = "--batch.classes 3 --batch.images 2 --model.dim 8 --model.image_size 16 --optim.steps 3 --loop.check_every 3"
some = [str(pictures / f"class {number}" / "0.png") for number in range(8)]
photo, gallery = pictures / "class 1" / "5.png", out / "gallery"
assert main(["train", str(pictures), *small.split(), "--out", str(out / "run")]) == 0
assert main(["index", str(out / "run"), *some, "--to", str(gallery)]) == 0
assert main(["search", str(gallery), str(photo), "--by", "milvus"]) == 0
with TestClient(create_app(Gallery(gallery), lambda: load(gallery / "model")), "http://localhost") as client:
    assert client.post("/search", files={"image": photo.read_bytes()}).status_code == 200
    assert client.get("/").status_code == 200
"""


def test_nothing_connects_beyond_this_machine(pictures: Path, tmp_path: Path) -> None:
    """Train, index, search and serve with all outside connections refused. The first call checks the refusal."""
    (tmp_path / "sitecustomize.py").write_text(REFUSING)
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])

    def run(code: str, *words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", code, *words]
        environment = {**os.environ, "PYTHONPATH": path}
        return subprocess.run(command, check=False, env=environment, capture_output=True, text=True)

    assert run("import socket; socket.create_connection(('192.0.2.1', 80), 1)").returncode == 77
    done = run(EVERYTHING, str(pictures), str(tmp_path))
    assert done.returncode == 0, done.stderr


@pytest.mark.long
def test_schemathesis_finds_no_fault(server: Server, tmp_path: Path) -> None:
    command = [str(Path(sys.executable).parent / "schemathesis"), "run", f"http://127.0.0.1:{server.port}/openapi.json"]
    checks = [
        "--checks",
        "not_a_server_error",
        "--max-examples",
        "60",
        "--request-timeout",
        "30",
        "--suppress-health-check",
        "all",
    ]
    found = subprocess.run([*command, *checks], check=False, capture_output=True, text=True, cwd=tmp_path)
    assert found.returncode == 0, found.stdout[-5000:]
    assert b'"status":"ok"' in server.get("/healthz")

"""Run crossbatch in its own processes, as a user does."""

import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path


class Server:
    """`crossbatch serve GALLERY` on a free port of this machine."""

    def __init__(self, gallery: Path, log: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.gallery, self.log, self.address = gallery, log, f"http://127.0.0.1:{self.port}"
        self.start()

    def start(self) -> None:
        command = [sys.executable, "-m", "crossbatch", "serve", str(self.gallery), "--port", str(self.port)]
        with self.log.open("a") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log)
        end = time.monotonic() + 90
        while True:
            try:
                with urllib.request.urlopen(f"{self.address}/healthz", timeout=5) as answer:
                    if b'"ready":true' in answer.read().replace(b" ", b""):
                        return
            except OSError:
                pass
            if self.process.poll() is not None or time.monotonic() > end:
                raise AssertionError(f"no server: {self.log.read_text()}")
            time.sleep(0.2)

    def freeze(self) -> None:
        self.process.send_signal(signal.SIGSTOP)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


def crossbatch(*arguments: object) -> None:
    command = [sys.executable, "-m", "crossbatch", *map(str, arguments)]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr + done.stdout

"""Draw docs/search-page.png: the page of a gallery in Chromium, searching from one of its pictures.

    crossbatch index runs/grocery grocery_store --to gallery
    python scripts/search_page_picture.py gallery 10-Mango

The second argument is a part of a picture's path. The first picture whose path contains it is the query. The
photographs in the documentation are from the Grocery Store data set (Klasson et al., WACV 2019; MIT licence).
"""

import argparse
import json
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from io import BytesIO
from pathlib import Path
from typing import Any

from PIL import Image
from playwright.sync_api import sync_playwright

SIZE = {"width": 1280, "height": 800}
LARGEST = 400_000  # bytes
COLOURS = (256, 192, 128, 96, 64, 48)  # tried in turn; in full colour the file is three times as large


def main() -> None:
    """Serve the gallery, take a screenshot of its page, and write it."""
    options = _options()
    address = f"http://127.0.0.1:{options.port}"
    command = [sys.executable, "-m", "crossbatch", "serve", options.gallery, "--port", str(options.port)]
    with subprocess.Popen(command) as server:  # noqa: S603 - our own command
        try:
            _wait(address, server)
            picture = _photograph(address, _find(address, options.query), options.chromium, options.theme)
        finally:
            server.terminate()
    options.out.write_bytes(_small(picture))
    print(f"{options.out}: {options.out.stat().st_size / 1000:.0f} kB")


def _ask(address: str) -> Any:
    with urllib.request.urlopen(address, timeout=30) as answer:  # noqa: S310 - our own server
        return json.load(answer)


def _wait(address: str, server: subprocess.Popen[bytes]) -> None:
    while server.poll() is None:
        try:
            if _ask(f"{address}/healthz")["ready"]:
                return
        except OSError:
            pass
        time.sleep(0.3)
    raise SystemExit("the server ended")


def _find(address: str, words: str) -> str:
    for offset in range(0, _ask(f"{address}/gallery")["images"], 200):
        for image in _ask(f"{address}/images?offset={offset}&limit=200")["images"]:
            if words in image["path"]:
                return str(image["id"])
    raise SystemExit(f"no path in the gallery contains {words!r}")


def _photograph(address: str, query: str, chromium: str, theme: str) -> Image.Image:
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page(viewport=SIZE, color_scheme=theme, reduced_motion="reduce")
        page.goto(f"{address}/?id={query}")
        page.wait_for_load_state("networkidle")
        page.wait_for_timeout(500)
        shot = page.screenshot()
        browser.close()
    return Image.open(BytesIO(shot)).convert("RGB")


def _small(picture: Image.Image) -> bytes:
    for colours in COLOURS:
        file = BytesIO()
        picture.quantize(colours, dither=Image.Dither.FLOYDSTEINBERG).save(file, "PNG", optimize=True)
        if len(file.getvalue()) <= LARGEST:
            return file.getvalue()
    raise SystemExit(f"the picture takes more than {LARGEST:,} bytes even in {COLOURS[-1]} colours")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("gallery", help="gallery to show")
    parser.add_argument("query", help="part of the path of the picture to search from")
    parser.add_argument("--out", type=Path, default=Path("docs/search-page.png"))
    parser.add_argument("--theme", choices=["light", "dark"], default="light")
    parser.add_argument("--chromium", default=shutil.which("chromium"), help="the browser, by default that of the path")
    options = parser.parse_args()
    if options.chromium is None:
        parser.error("no chromium on the path: apt install chromium, or give --chromium")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        options.port = free.getsockname()[1]
    return options


if __name__ == "__main__":
    main()

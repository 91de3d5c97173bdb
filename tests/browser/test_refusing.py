"""Tests of errors: the page states each one in a sentence and stays where it was."""

import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from drawings import draw_pictures
from serving import crossbatch

SEARCH = "body[data-mode=search]"


def grey_png(path: Path, width: int, height: int) -> Path:
    """A valid PNG of one shade: 200 megapixels take 200 kB."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    squeeze, rows = zlib.compressobj(9), bytearray()
    for _ in range(height):
        rows += squeeze.compress(bytes(1 + width))
    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", head)
        + chunk(b"IDAT", bytes(rows) + squeeze.flush())
        + chunk(b"IEND", b"")
    )
    return path


@pytest.fixture(scope="session")
def refused_files(tmp_path_factory: pytest.TempPathFactory, stranger: Path) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("refused")
    files = {
        "corrupt": folder / "corrupt.png",
        "cut": folder / "cut.png",
        "text": folder / "notes.txt",
        "empty": folder / "empty.jpg",
    }
    content = stranger.read_bytes()
    files["corrupt"].write_bytes(content[:40] + bytes(200) + content[240:])
    files["cut"].write_bytes(content[: len(content) // 2])
    files["text"].write_text("no picture")
    files["empty"].write_bytes(b"")
    files["200 megapixels"] = grey_png(folder / "huge.png", 20_000, 10_000)
    return files


@pytest.mark.parametrize("which", ["corrupt", "cut", "text", "empty", "200 megapixels"])
def test_an_upload_that_is_refused(
    visit: Any, address: str, refused_files: dict[str, Path], which: str, expect: Any
) -> None:
    page = visit(address, refused=True)
    page.locator(".tile").nth(3).click()
    page.wait_for_selector(SEARCH)
    before = page.url, page.locator("#query-picture").get_attribute("src")
    with page.expect_response(lambda answer: answer.url.endswith("/search")) as answer:
        page.locator("#file").set_input_files(refused_files[which])
    assert answer.value.status in {415, 422}
    expect(page.locator("#alert p")).to_have_text(f"{refused_files[which].name}: {answer.value.json()['error']}")
    assert (page.url, page.locator("#query-picture").get_attribute("src")) == before
    page.get_by_role("button", name="Dismiss").click()
    page.locator(".tile").nth(1).click()  # the page still works
    page.wait_for_url(lambda url: url != before[0])


def test_a_file_that_is_too_large_is_not_even_sent(visit: Any, address: str, tmp_path: Path, expect: Any) -> None:
    page = visit(address)
    expect(page.locator("#gallery-name")).not_to_be_empty()
    sent: list[str] = []
    page.on("request", lambda request: sent.append(request.url) if request.method == "POST" else None)
    most = page.evaluate("fetch('/gallery').then(answer => answer.json()).then(told => told.limits.bytes)")
    (tmp_path / "large.jpg").write_bytes(bytes(most + 1))
    page.locator("#file").set_input_files(tmp_path / "large.jpg")
    expect(page.locator("#alert")).to_contain_text(f"this server takes at most {most / 1e6:.1f} MB")
    assert sent == []


def test_an_image_that_is_not_there(visit: Any, address: str, expect: Any) -> None:
    page = visit(address, "/?id=" + "0" * 32, refused=True)
    expect(page.locator("#alert p")).not_to_be_empty()
    expect(page.locator(".tile").first).to_be_visible()  # the start page is shown below the message


def test_the_server_stops_in_the_middle_of_a_search(
    visit: Any, gallery: Path, serve: Callable[[Path], Any], stranger: Path, expect: Any
) -> None:
    server = serve(gallery)
    page = visit(server.address, refused=True)
    server.freeze()
    page.locator("#file").set_input_files(stranger)
    expect(page.locator("#progress")).to_be_visible()
    server.kill()
    expect(page.locator("#alert")).to_contain_text("The server does not answer")
    expect(page.locator("#progress")).to_be_hidden()
    expect(page.locator(".tile").first).to_be_visible()
    server.start()
    page.get_by_role("button", name="Try again").click()
    page.wait_for_selector(SEARCH)
    expect(page.locator("#alert")).to_be_hidden()
    expect(page.locator("#query-name")).to_have_text(stranger.name)


def test_a_busy_server_is_asked_again(visit: Any, address: str, stranger: Path, expect: Any) -> None:
    page = visit(address, refused=True)
    times: list[int] = []

    def busy_at_first(route: Any) -> None:
        times.append(1)
        if len(times) > 2:
            route.continue_()
        else:
            route.fulfill(status=429, json={"error": "Too many searches wait.", "code": "busy"})

    page.route("**/search", busy_at_first)
    page.locator("#file").set_input_files(stranger)
    expect(page.locator("#query-hint")).to_contain_text("Your picture")
    assert len(times) == 3


def test_one_picture(
    visit: Any, serve: Callable[[Path], Any], index: Callable[[Path], Path], tmp_path: Path, expect: Any
) -> None:
    gallery = index(draw_pictures(tmp_path / "one", classes=1, each=1))
    page = visit(serve(gallery).address)
    expect(page.locator("#detail")).to_have_text("1 picture")
    expect(page.get_by_role("button", name="Map")).to_be_disabled()
    page.locator(".tile").click()
    expect(page.locator("#nothing")).to_contain_text("This is the only picture of the gallery.")
    back_after(page, index_more, gallery, tmp_path / "one")
    expect(page.locator(".tile")).to_have_count(3)  # the search shown before, with new hits
    page.locator("#home").click()
    expect(page.locator(".tile")).to_have_count(4)
    page.get_by_role("button", name="Map").click()
    page.wait_for_selector("#map:not(.loading)")
    back_after(page, crossbatch, "index", gallery, "--remove", "star 1/002.png")
    expect(page.locator("#detail")).to_contain_text("3 pictures")
    page.wait_for_selector("#map:not(.loading)")
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url) if "/similar/" in request.url else None)
    page.locator("#points").focus()
    page.keyboard.press("+")
    page.keyboard.press("Enter")
    page.wait_for_url("**/?id=*&view=map")
    expect(page.locator("#strip a")).not_to_have_count(0)
    assert len(asked) == 1  # the map has its listeners only once, whatever it has shown


def index_more(gallery: Path, pictures: Path) -> None:
    """Index three more pictures of a new class, as from a terminal while the page is open."""
    draw_pictures(pictures.with_name("more"), classes=1, each=3, seed=1)
    crossbatch("index", gallery, pictures.with_name("more"))


def back_after(page: Any, change: Callable[..., None], *arguments: Any) -> None:
    """Make a change, wait until the server has seen it, and return to the page."""
    change(*arguments)
    page.wait_for_timeout(1_500)
    page.evaluate("dispatchEvent(new Event('focus'))")


def test_an_empty_gallery(
    visit: Any, serve: Callable[[Path], Any], index: Callable[[Path], Path], tmp_path: Path, expect: Any
) -> None:
    gallery = index(draw_pictures(tmp_path / "one", classes=1, each=1))
    crossbatch("index", gallery, "--remove", "star 1/000.png")
    page = visit(serve(gallery).address)
    expect(page.locator("#nothing")).to_contain_text("This gallery is empty")
    expect(page.locator("#nothing")).to_contain_text("crossbatch index")
    expect(page.get_by_role("button", name="Surprise me")).to_be_hidden()
    back_after(page, index_more, gallery, tmp_path / "one")
    expect(page.locator(".tile")).to_have_count(3)
    expect(page.locator("#nothing")).to_be_hidden()
    expect(page.get_by_role("button", name="Surprise me")).to_be_visible()

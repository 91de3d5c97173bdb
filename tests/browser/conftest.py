"""Fixtures for the page as people use it: `crossbatch serve` in its own process, and Chromium in front of it."""

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from drawings import draw_pictures
from serving import Server, crossbatch

playwright = pytest.importorskip("playwright.sync_api", reason='pip install -e ".[dev]"')

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
MISSING = "no browser: install Chromium (Debian, Ubuntu: sudo apt install chromium), or name one in CROSSBATCH_CHROMIUM"
REFUSED = "Failed to load resource"  # Chromium's own message for each status of 400 or more
PATIENCE_MS = 15_000


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if item.path.is_relative_to(here):
            item.add_marker(pytest.mark.browser)


@pytest.fixture(scope="session")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of drawn pictures, with one folder for each class."""
    return draw_pictures(tmp_path_factory.mktemp("drawn") / "pictures", classes=12, each=24)


@pytest.fixture(scope="session")
def trained(drawn: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run trained on the drawn pictures."""
    run = tmp_path_factory.mktemp("run") / "run"
    crossbatch(
        "train",
        drawn,
        "--out",
        run,
        "--optim.steps",
        200,
        "--batch.classes",
        4,
        "--model.image_size",
        32,
        "--loop.workers",
        0,
    )
    return run


@pytest.fixture(scope="session")
def index(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[Path], Path]:
    """A function that indexes a folder of pictures into a new gallery."""

    def build(pictures: Path) -> Path:
        gallery = tmp_path_factory.mktemp("gallery") / "gallery"
        crossbatch("index", trained, pictures, "--to", gallery)
        return gallery

    return build


@pytest.fixture(scope="session")
def serve(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[Path], Server]]:
    """A function that starts the server of a gallery. All servers are stopped at the end."""
    started: list[Server] = []

    def build(gallery: Path) -> Server:
        started.append(Server(gallery, tmp_path_factory.mktemp("log") / "serve.log"))
        return started[-1]

    yield build
    for server in started:
        server.kill()


@pytest.fixture(scope="session")
def gallery(drawn: Path, index: Callable[[Path], Path]) -> Path:
    return index(drawn)


@pytest.fixture(scope="session")
def address(gallery: Path, serve: Callable[[Path], Server]) -> str:
    """The address of the page with the 288 drawn pictures."""
    return serve(gallery).address


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    named = os.environ.get("CROSSBATCH_CHROMIUM")
    path = named or next((found for name in NAMES if (found := shutil.which(name))), None)
    if path is None:
        pytest.exit(MISSING, returncode=3)
    with playwright.sync_playwright() as driver:
        camera = ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]
        browser = driver.chromium.launch(executable_path=path, args=["--no-sandbox", *camera])
        yield browser
        browser.close()


class Visit:
    """A page, and everything that went wrong on it: logged errors, and requests to other hosts."""

    def __init__(self, page: Any, address: str, may_be_refused: bool) -> None:
        self.page, self.address, self.wrong = page, address, list[str]()

        def logged(message: Any) -> None:
            if message.type in {"error", "warning"} and not (may_be_refused and message.text.startswith(REFUSED)):
                self.wrong.append(message.text)

        def asked(request: Any) -> None:
            if not request.url.startswith((address, "blob:", "data:")):
                self.wrong.append(f"asked {request.url}")

        page.on("console", logged)
        page.on("pageerror", lambda error: self.wrong.append(str(error)))
        page.on("request", asked)


@pytest.fixture
def visit(chromium: Any) -> Iterator[Callable[..., Any]]:
    """Open an address in a fresh browser profile. At the end, nothing may have gone wrong there."""
    visits: list[Visit] = []

    def open_page(address: str, path: str = "/", *, refused: bool = False, **options: Any) -> Any:
        options = {"viewport": {"width": 1280, "height": 860}, "reduced_motion": "reduce"} | options
        context = chromium.new_context(**options)
        context.set_default_timeout(PATIENCE_MS)
        page = context.new_page()
        visits.append(Visit(page, address, refused))
        page.goto(address + path)
        page.wait_for_selector(
            "#tiles:not([hidden]) .tile img.here, #nothing:not([hidden]), #map:not([hidden]), #alert:not([hidden])"
        )
        return page

    yield open_page
    for each in visits:
        each.page.context.close()
    assert [wrong for each in visits for wrong in each.wrong] == []


PHONE = {"viewport": {"width": 390, "height": 844}, "device_scale_factor": 2, "has_touch": True, "is_mobile": True}


@pytest.fixture
def phone() -> dict[str, Any]:
    return PHONE


@pytest.fixture
def expect() -> Any:
    playwright.expect.set_options(timeout=PATIENCE_MS)
    return playwright.expect


@pytest.fixture(scope="session")
def picture(drawn: Path) -> Path:
    """A picture from the gallery."""
    return next(iter(sorted((drawn / "star 2").iterdir())))


@pytest.fixture(scope="session")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A picture that is not in the gallery."""
    folder = draw_pictures(tmp_path_factory.mktemp("stranger") / "one", classes=1, each=1, seed=9)
    return next(folder.rglob("*.png"))

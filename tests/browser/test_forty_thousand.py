"""Tests with 40,000 pictures: the first is shown within a second, all can be scrolled to, and the map moves."""

import statistics
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from drawings import draw_pictures
from PIL import Image
from waiting import until

from crossbatch.encoder import load
from crossbatch.index.description import Database, Model
from crossbatch.index.indexing import add
from crossbatch.index.kept_model import keep
from crossbatch.index.sources import found_in
from crossbatch.index.writer import writing

pytestmark = pytest.mark.long  # drawing and indexing take a few minutes

IMAGES, CLASSES = 40_000, 400
SECOND_MS = 1000


class Corners:
    """A fast stand-in for the network: 8 × 8 colours, projected at random to the embedding length."""

    def __init__(self, dim: int) -> None:
        self.turn = np.random.default_rng(0).normal(size=(192, dim)).astype(np.float32)

    def embed_readable(self, images: Sequence[Any], *, batch_size: int = 64) -> tuple[Any, dict[int, str]]:
        rows = []
        for image in images:
            with Image.open(image) as opened:
                rows.append(np.asarray(opened.convert("RGB").resize((8, 8)), dtype=np.float32).ravel() - 128)
        turned = np.stack(rows) @ self.turn
        return turned / np.linalg.norm(turned, axis=1, keepdims=True), {}


@pytest.fixture(scope="session")
def large(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("large")
    pictures = draw_pictures(folder / "pictures", classes=CLASSES, each=IMAGES // CLASSES, side=48)
    found, _ = found_in([pictures])
    model = load(trained)
    with writing(folder / "gallery", Model.of(model), Database("milvus.db", "large")) as writer:
        keep(trained, folder / "gallery")
        add(writer, found, Corners(model.dim))
        rows = writer.rows()
        u, lengths, _ = np.linalg.svd(rows.embeddings - rows.embeddings.mean(0), full_matrices=False)
        writer.keep_map(rows.ids, (u[:, :2] * lengths[:2]).astype(np.float32), "pca", len(rows))
    return folder / "gallery"


@pytest.fixture(scope="session")
def crowded(large: Path, serve: Callable[[Path], Any]) -> str:
    return serve(large).address


def test_the_first_picture_is_seen_within_a_second(visit: Any, crowded: str) -> None:
    times = """() => performance.getEntriesByType("resource")
      .filter((one) => one.name.includes("/thumbnails/") && one.responseEnd).map((one) => one.responseEnd)"""
    seen = []
    for _ in range(5):
        page = visit(crowded)
        until(page, f"({times})().length > 0")
        seen.append(min(page.evaluate(times)))
    print(f"first picture after {sorted(map(round, seen))} ms")
    assert statistics.median(seen) < SECOND_MS


def test_one_can_scroll_to_the_last_and_few_elements_exist(visit: Any, crowded: str, expect: Any) -> None:
    page = visit(crowded)
    page.get_by_role("button", name="Show all").click()
    expect(page.locator("#detail")).to_have_text("40,000 pictures")
    page.evaluate("scrollTo(0, document.body.scrollHeight)")
    expect(page.locator(".tiles li[aria-posinset='40000'] img.here")).to_be_visible()
    assert page.locator("*").count() < 1500


def test_the_map_moves(visit: Any, crowded: str) -> None:
    page = visit(crowded, "/?view=map")
    page.wait_for_selector("#map:not(.loading)")
    page.locator("#points").focus()
    frames = page.evaluate(
        """async () => {
          const times = [];
          const canvas = document.getElementById("points");
          for (let step = 0; step < 30; step += 1) {
            const start = performance.now();
            const key = step % 2 ? "ArrowLeft" : "ArrowRight";
            canvas.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true }));
            await new Promise((done) => requestAnimationFrame(() => setTimeout(done)));
            times.push(performance.now() - start);
          }
          return times;
        }"""
    )
    print(f"a frame of 40,000 points takes {statistics.median(frames):.0f} ms")
    assert statistics.median(frames) < 250

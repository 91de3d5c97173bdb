"""Tests of the map: it is drawn, moves, zooms, responds to the pointer, and starts searches."""

import time
from collections import Counter
from io import BytesIO
from typing import Any

import pytest
from PIL import Image


def shot(page: Any) -> Image.Image:
    seen = Image.open(BytesIO(page.locator("#points").screenshot())).convert("RGB")
    return seen.crop((0, 0, seen.width - 80, seen.height))  # without the buttons, which change colour


def drawn(page: Any, *, after: bytes = b"") -> bytes:
    """Wait until the map has points, differs from `after`, and no longer changes. Return what it shows."""
    before, end = b"", time.monotonic() + 60
    while True:
        now = shot(page)
        if now.tobytes() == before != after and len(now.getcolors(1 << 24)) >= 20:
            return before
        assert time.monotonic() < end, "the map does not change, or does not come to rest"
        before = now.tobytes()
        page.wait_for_timeout(700)  # pictures load six at a time


@pytest.fixture
def page(visit: Any, address: str) -> Any:
    page = visit(address, "/?view=map")
    page.wait_for_selector("#map:not(.loading)")
    drawn(page)
    return page


def test_the_map_is_reached_by_its_button_and_left_by_back(visit: Any, address: str, expect: Any) -> None:
    page = visit(address)
    page.get_by_role("button", name="Map").click()
    page.wait_for_url("**/?view=map")
    drawn(page)
    page.go_back()
    expect(page.locator(".tile").first).to_be_visible()


def test_the_map_is_moved_and_zoomed(page: Any) -> None:
    shown = [drawn(page)]
    area = page.locator("#points").bounding_box()
    x, y = area["x"] + area["width"] / 2, area["y"] + area["height"] / 2
    page.mouse.move(x, y)
    page.mouse.wheel(0, -150)  # a small zoom, so that the middle of the map is not empty
    shown.append(drawn(page, after=shown[-1]))
    page.mouse.down()
    page.mouse.move(x + 60, y + 40, steps=5)
    page.mouse.up()
    shown.append(drawn(page, after=shown[-1]))
    page.get_by_role("button", name="Zoom out").click()
    shown.append(drawn(page, after=shown[-1]))
    page.mouse.move(x, area["y"] - 30)
    page.get_by_role("button", name="Show all").click()
    page.mouse.move(x, area["y"] - 30)
    assert drawn(page, after=shown[-1]) == shown[0]
    assert page.url.endswith("/?view=map")  # a drag is not a click


def on_a_point(page: Any) -> tuple[float, float, str]:
    """Move the pointer onto a point. Return its position and the id of its picture."""
    area = page.locator("#points").bounding_box()
    for step in range(40 * 40):
        x = area["x"] + area["width"] * (0.2 + 0.015 * (step % 40))
        y = area["y"] + area["height"] * (0.1 + 0.02 * (step // 40))
        page.mouse.move(x, y)
        if page.locator("#card").is_visible():
            return x, y, page.locator("#card img").get_attribute("src").removeprefix("/thumbnails/")
    raise AssertionError("no point on the map")


def test_pictures_come_to_the_points_when_they_lie_apart(page: Any) -> None:
    on_a_point(page)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url) if "/thumbnails/" in request.url else None)
    cards = set()
    for _ in range(3):
        page.mouse.wheel(0, -320)  # zoom in by a factor of two
        drawn(page)
        if page.locator("#card").is_visible():
            cards.add(page.locator("#card img").get_attribute("src"))
    assert {url for url in asked if not url.endswith(tuple(cards))}
    assert max(Counter(asked).values()) <= 2  # once by the card and once by the map


def test_a_point_shows_its_picture_and_searches_from_it(page: Any, expect: Any) -> None:
    x, y, found = on_a_point(page)
    page.mouse.click(x, y)
    page.wait_for_url(f"**/?id={found}&view=map")
    expect(page.locator("#strip a")).to_have_count(40)
    link = page.locator("#strip a").nth(2)
    to = link.get_attribute("href")
    link.click()
    page.wait_for_url(f"**{to}")


def test_the_map_by_keys(page: Any, expect: Any) -> None:
    page.locator("#points").focus()
    page.keyboard.press("+")
    page.keyboard.press("ArrowLeft")
    expect(page.locator("#card")).to_be_visible()
    expect(page.locator("#map-says")).not_to_be_empty()
    chosen = page.locator("#card img").get_attribute("src").removeprefix("/thumbnails/")
    page.keyboard.press("Enter")
    page.wait_for_url(f"**/?id={chosen}&view=map")


def test_other_labels_are_dimmed(page: Any) -> None:
    before = drawn(page)
    page.get_by_role("combobox").fill("star 1")
    page.keyboard.press("Enter")
    page.wait_for_url("**/*label=star*")
    drawn(page, after=before)


def test_the_map_follows_the_theme(page: Any) -> None:
    before = drawn(page)
    page.keyboard.press("t")
    drawn(page, after=before)


def test_two_fingers_zoom_the_map(visit: Any, address: str, phone: dict[str, Any]) -> None:
    page = visit(address, "/?view=map", **phone)
    drawn(page)
    page.locator("#points").scroll_into_view_if_needed()
    before = drawn(page)
    area = page.locator("#points").bounding_box()
    x, y = area["x"] + area["width"] / 2, area["y"] + 160
    session = page.context.new_cdp_session(page)
    for kind, apart in [
        ("touchStart", 30),
        ("touchMove", 50),
        ("touchMove", 80),
        ("touchMove", 110),
        ("touchEnd", None),
    ]:
        points = [] if apart is None else [{"x": x - apart, "y": y, "id": 0}, {"x": x + apart, "y": y, "id": 1}]
        session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
    drawn(page, after=before)

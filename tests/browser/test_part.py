"""Tests of a box on the query: it is drawn, moved, resized and removed by pointer, keys and touch."""

from typing import Any

import pytest
from waiting import until

SEARCH = "body[data-mode=search]"
IDS = "tiles => tiles.map(tile => tile.dataset.id)"


@pytest.fixture
def asked(visit: Any, address: str) -> Any:
    page = visit(address)
    page.locator(".tile").first.click()
    page.wait_for_selector(SEARCH)
    return page


def box_of(page: Any) -> list[float]:
    return page.evaluate("(new URLSearchParams(location.search).get('box') ?? '').split(',').map(Number)")


def corners(page: Any, *shares: float) -> list[tuple[float, float]]:
    frame = page.locator("#frame").bounding_box()
    pairs = zip(shares[::2], shares[1::2], strict=True)
    return [(frame["x"] + x * frame["width"], frame["y"] + y * frame["height"]) for x, y in pairs]


def drag(page: Any, *shares: float) -> None:
    start, end = corners(page, *shares)
    page.mouse.move(*start)
    page.mouse.down()
    page.mouse.move(*end, steps=6)
    page.mouse.up()


def test_a_drawn_box_searches_the_part(asked: Any, expect: Any) -> None:
    sent = []
    asked.on(
        "request", lambda request: sent.append(request.post_data or "") if request.url.endswith("/search") else None
    )
    before = asked.locator(".tile").evaluate_all(IDS)
    drag(asked, 0.1, 0.2, 0.5, 0.7)
    expect(asked.locator("#title")).to_have_text("Like this part")
    assert box_of(asked) == pytest.approx([0.1, 0.2, 0.5, 0.7], abs=0.02)
    assert 'name="box"' in sent[-1]
    assert asked.locator(".tile").evaluate_all(IDS) != before


def test_the_box_is_moved_resized_and_removed_by_pointer(asked: Any, expect: Any) -> None:
    drag(asked, 0.1, 0.2, 0.5, 0.7)
    asked.wait_for_url("**/*box=*")
    drag(asked, 0.3, 0.4, 0.45, 0.5)
    until(asked, "Math.abs(new URLSearchParams(location.search).get('box').split(',')[0] - 0.25) < 0.02")
    assert box_of(asked) == pytest.approx([0.25, 0.3, 0.65, 0.8], abs=0.02)
    drag(asked, 0.65, 0.8, 0.9, 0.95)
    until(asked, "new URLSearchParams(location.search).get('box').split(',')[2] > 0.8")
    assert box_of(asked) == pytest.approx([0.25, 0.3, 0.9, 0.95], abs=0.02)
    asked.get_by_role("button", name="Whole picture").click()
    expect(asked.locator("#title")).to_have_text("Like this picture")
    asked.go_back()
    expect(asked.locator("#title")).to_have_text("Like this part")
    asked.go_back()  # a box is one step of the history, however often it changed
    expect(asked.locator("#title")).to_have_text("Like this picture")
    assert box_of(asked) == [0]


def test_escape_takes_back_a_box_that_is_being_drawn(asked: Any, expect: Any) -> None:
    start, end = corners(asked, 0.1, 0.2, 0.5, 0.7)
    asked.mouse.move(*start)
    asked.mouse.down()
    asked.mouse.move(*end, steps=3)
    asked.keyboard.press("Escape")
    asked.mouse.move(*start)
    asked.mouse.up()
    expect(asked.locator("#title")).to_have_text("Like this picture")
    assert box_of(asked) == [0]
    assert asked.locator(".area").is_hidden()


def test_a_slip_of_the_hand_is_no_box(asked: Any) -> None:
    drag(asked, 0.4, 0.4, 0.41, 0.42)
    asked.wait_for_timeout(300)
    assert box_of(asked) == [0]
    assert asked.locator(".area").is_hidden()


def test_a_box_stays_in_the_picture(asked: Any) -> None:
    drag(asked, 0.5, 0.5, 1.6, 1.4)
    asked.wait_for_url("**/*box=*")
    assert box_of(asked) == pytest.approx([0.5, 0.5, 1, 1], abs=0.02)
    drag(asked, 0.7, 0.7, -0.9, 0.7)
    until(asked, "new URLSearchParams(location.search).get('box').startsWith('0,')")
    assert box_of(asked) == pytest.approx([0, 0.5, 0.5, 1], abs=0.02)


def test_the_box_by_keys(asked: Any, expect: Any) -> None:
    asked.keyboard.press("b")
    asked.wait_for_url("**/*box=*")
    area = asked.locator(".area")
    expect(area).to_be_focused()
    for key in ("ArrowRight", "ArrowDown", "Shift+ArrowRight", "Shift+ArrowRight"):
        asked.keyboard.press(key)
    until(asked, "new URLSearchParams(location.search).get('box') === '0.22,0.22,0.86,0.82'")
    expect(area).to_be_focused()
    assert "from 22% to 86% across" in area.get_attribute("aria-label")
    asked.keyboard.press("Delete")
    expect(asked.locator("#title")).to_have_text("Like this picture")
    expect(asked.locator("#part")).to_be_focused()


def test_the_box_by_fingers(visit: Any, address: str, phone: dict[str, Any], expect: Any) -> None:
    page = visit(address, **phone)
    page.locator(".tile").first.tap()
    page.wait_for_selector(SEARCH)
    page.get_by_role("button", name="Search a part").tap()
    page.wait_for_url("**/*box=*")
    handle = page.locator(".area .se").bounding_box()
    x, y = handle["x"] + handle["width"] / 2, handle["y"] + handle["height"] / 2
    session = page.context.new_cdp_session(page)
    session.send("Input.dispatchTouchEvent", {"type": "touchStart", "touchPoints": [{"x": x, "y": y}]})
    for step in range(1, 6):
        session.send(
            "Input.dispatchTouchEvent", {"type": "touchMove", "touchPoints": [{"x": x - 12 * step, "y": y - 12 * step}]}
        )
    session.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    until(page, "new URLSearchParams(location.search).get('box').split(',')[2] < 0.75")
    assert page.evaluate("scrollY") == 0  # the finger moved the box, not the page

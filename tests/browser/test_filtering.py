"""Tests of the similarity threshold and of the labels."""

from typing import Any

import pytest

SEARCH = "body[data-mode=search]"


@pytest.fixture
def asked(visit: Any, address: str) -> Any:
    page = visit(address)
    page.locator(".tile").first.click()
    page.wait_for_selector(SEARCH)
    return page


def spread(page: Any, best: float, step: float) -> None:
    """Give the real hits well-separated similarities, because those of a network after 200 steps hardly differ."""

    def answer(route: Any) -> None:
        found = route.fetch().json()
        for place, hit in enumerate(found["hits"]):
            hit["similarity"] = round(best - step * place, 6)
        route.fulfill(json=found)

    page.route("**/similar/*", answer)


def test_the_slider_keeps_what_is_similar_enough(visit: Any, address: str, expect: Any) -> None:
    page = visit(address)

    spread(page, 0.95, 0.004)
    page.locator(".tile").first.click()
    page.wait_for_selector(SEARCH)
    expect(page.locator("#at-least-ends")).to_have_text("0.150.95")
    for least, kept in [(0.9, 13), (0.55, 101), (0.95, 1), (0.9, 13)]:
        page.locator("#at-least").fill(f"{least}")
        expect(page.locator("#at-least-value")).to_have_text(f"{least:.2f}")
        expect(page.locator("#detail")).to_contain_text(f"{kept} at {least:.2f} or more")
        expect(page.locator(".tiles li").first).to_have_attribute("aria-setsize", str(kept))
        assert f"min={least}" in page.url
    page.reload()
    expect(page.locator("#detail")).to_contain_text("13 at 0.90 or more")
    page.locator(".tile").nth(1).click()  # another picture has no threshold yet
    expect(page.locator("#at-least-value")).to_have_text("any")


def test_where_all_that_were_fetched_are_similar_enough_there_may_be_more(
    visit: Any, address: str, expect: Any
) -> None:
    page = visit(address)
    spread(page, 0.99, 0.0001)
    page.locator(".tile").first.click()
    page.wait_for_selector(SEARCH)
    expect(page.locator("#at-least-ends")).to_have_text("0.9700.990")
    expect(page.locator(".tile .caption b").first).to_have_text("0.990")
    page.locator("#at-least").fill("0.98")
    expect(page.locator("#detail")).to_contain_text("101 at 0.980 or more of 288 pictures")
    page.goto(page.url.replace("min=0.98", "min=0.95"))
    expect(page.locator("#detail")).to_contain_text("200 nearest, all at 0.950 or more, of 288 pictures")


def test_the_slider_by_keys(asked: Any, expect: Any) -> None:
    asked.locator("#at-least").focus()
    asked.keyboard.press("ArrowRight")
    least, most = asked.locator("#at-least-ends span").all_inner_texts()
    assert float(least) < float(asked.locator("#at-least-value").inner_text()) < float(most)
    expect(asked.locator("#at-least")).to_have_attribute(
        "aria-valuetext", asked.locator("#at-least-value").inner_text()
    )
    asked.keyboard.press("Home")
    expect(asked.locator("#at-least-value")).to_have_text("any")


def test_where_nothing_is_similar_enough_the_page_says_what_the_nearest_reaches(asked: Any, expect: Any) -> None:
    nearest = asked.locator(".tile .caption b").first.inner_text()
    digits = len(nearest.partition(".")[2])
    asked.goto(f"{asked.url}&min=1")
    expect(asked.locator("#nothing")).to_contain_text(f"None is as similar as {1:.{digits}f}; the nearest reaches 0.")
    asked.get_by_role("button", name="Show all neighbours").click()
    expect(asked.locator(".tile").first).to_be_visible()


def test_a_label_found_by_typing_filters_the_search(asked: Any, expect: Any) -> None:
    field = asked.get_by_role("combobox")
    field.fill("BARS")
    expect(asked.get_by_role("option")).to_have_count(3)
    asked.keyboard.press("ArrowDown")
    asked.keyboard.press("Enter")
    asked.wait_for_url("**/*label=bars*")
    expect(asked.locator(".caption span").first).to_have_text("bars 2")
    assert set(asked.locator(".caption span").all_inner_texts()) == {"bars 2"}
    field.fill("drop 1")
    asked.keyboard.press("Enter")
    asked.wait_for_url("**/*label=drop*")
    expect(asked.locator("#chosen button")).to_have_count(2)
    assert set(asked.locator(".caption span").all_inner_texts()) <= {"bars 2", "drop 1"}
    asked.get_by_role("button", name="Remove bars 2").click()
    expect(asked.locator("#chosen button")).to_have_count(1)
    asked.go_back()
    expect(asked.locator("#chosen button")).to_have_count(2)


def test_enter_waits_for_the_list_that_was_asked_for(asked: Any) -> None:
    """The answer for the typed letters comes a second late, while the list of all labels is still open."""

    def answer(route: Any) -> None:
        asked.wait_for_timeout(1000)
        route.continue_()

    asked.get_by_role("combobox").click()
    asked.get_by_role("option").first.wait_for()
    asked.route("**/labels?contains=ring*", answer)
    asked.keyboard.type("ring 1")
    asked.wait_for_timeout(400)  # longer than the page waits after the last letter
    asked.keyboard.press("Enter")
    asked.wait_for_url("**/*label=ring*")


def test_a_label_filters_the_gallery_too(visit: Any, address: str, expect: Any) -> None:
    page = visit(address)
    page.get_by_role("combobox").click()
    expect(page.get_by_role("option")).to_have_count(12)
    page.get_by_role("option", name="ring 3").click()
    expect(page.locator("#title")).to_have_text("ring 3")
    expect(page.locator("#detail")).to_have_text("24 pictures")
    page.get_by_role("combobox").click()
    page.get_by_role("option", name="ring 1").click()
    expect(page.locator("#chosen button")).to_have_count(2)
    first = page.locator(".tile").first.bounding_box()
    for shown in ("#chosen", "#label-words", "#view-map"):
        box = page.locator(shown).bounding_box()
        assert box["y"] + box["height"] <= first["y"]  # nothing covers the pictures


def test_no_label_contains_it(visit: Any, address: str, expect: Any) -> None:
    page = visit(address)
    page.get_by_role("combobox").fill("zebra")
    expect(page.get_by_text("No label contains “zebra”.")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_text("No label contains “zebra”.")).to_be_hidden()


def test_with_many_labels_the_list_says_how_many_more(visit: Any, address: str, expect: Any) -> None:
    page = visit(address)
    many = [{"label": f"label {number}", "count": 1} for number in range(100)]
    page.route("**/labels?*", lambda route: route.fulfill(json={"labels": many, "total": 11_318, "unlabelled": 0}))
    page.get_by_role("combobox").click()
    expect(page.get_by_text("and 11,218 more: type to find one")).to_be_visible()

"""Tests of searching: a picture can be given in every way, every hit can be searched from, and back works."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from waiting import until

SEARCH = "body[data-mode=search]"


def similarities(page: Any) -> list[float]:
    return [float(text) for text in page.locator(".tile .caption b").all_inner_texts()]


def test_the_first_screen_shows_pictures_of_the_gallery(visit: Any, address: str, expect: Any) -> None:
    page = visit(address)
    expect(page.locator("#detail")).to_have_text("60 of 288 pictures, drawn at random")
    expect(page.locator("#example")).to_be_visible()
    before = page.locator(".tile").first.get_attribute("data-id"), page.locator(".tile").nth(1).get_attribute("data-id")
    page.get_by_role("button", name="Shuffle").click()
    until(
        page,
        "before => [...document.querySelectorAll('.tile')].slice(0, 2).map(t => t.dataset.id).join() !== before.join()",
        before,
    )


def test_all_pictures_can_be_scrolled_through_and_few_of_them_exist_at_a_time(
    visit: Any, address: str, expect: Any
) -> None:
    page = visit(address)
    page.get_by_role("button", name="Show all").click()
    expect(page.locator("#detail")).to_have_text("288 pictures")
    page.evaluate("scrollTo(0, document.body.scrollHeight)")
    last = page.locator(".tiles li[aria-posinset='288'] img.here")
    expect(last).to_be_visible()
    assert page.locator(".tiles li").count() < 120


def test_an_uploaded_picture_finds_its_like(visit: Any, address: str, stranger: Path, expect: Any) -> None:
    page = visit(address)
    page.locator("#file").set_input_files(stranger)
    page.wait_for_selector(SEARCH)
    expect(page.locator("#query-name")).to_have_text(stranger.name)
    expect(page.locator("#query-hint")).to_contain_text("Your picture · 96 × 96")
    found = similarities(page)
    assert len(found) > 10
    assert found == sorted(found, reverse=True)
    shown = page.locator("#query-picture")
    assert shown.get_attribute("src").startswith("blob:")
    assert shown.evaluate("picture => picture.naturalWidth") == 96


def test_an_uploaded_picture_is_shown_in_a_format_that_the_browser_does_not_know(
    visit: Any, address: str, stranger: Path, tmp_path: Path, expect: Any
) -> None:
    file = tmp_path / "scan.tiff"
    with Image.open(stranger) as image:
        image.save(file)
    page = visit(address)
    page.locator("#file").set_input_files(file)
    page.wait_for_selector(SEARCH)
    expect(page.locator("#query-hint")).to_contain_text("Your picture · 96 × 96")
    until(page, "document.getElementById('query-picture').naturalWidth === 96")
    expect(page.locator("#frame")).not_to_have_class("unseen")


def test_a_picture_of_the_gallery_is_not_among_its_own_neighbours(
    visit: Any, address: str, picture: Path, expect: Any
) -> None:
    page = visit(address)
    page.locator("#file").set_input_files(picture)
    expect(page.locator("#query-hint")).to_contain_text("the gallery has it too")


def test_a_pasted_picture_is_searched(visit: Any, address: str, expect: Any) -> None:
    page = visit(address)
    page.context.grant_permissions(["clipboard-read", "clipboard-write"], origin=address)
    page.evaluate("""async () => {
      const canvas = new OffscreenCanvas(64, 48);
      canvas.getContext("2d").fillRect(8, 8, 30, 30);
      await navigator.clipboard.write([new ClipboardItem({"image/png": await canvas.convertToBlob()})]);
    }""")
    page.keyboard.press("Control+V")
    page.wait_for_selector(SEARCH)
    expect(page.locator("#query-hint")).to_contain_text("64 × 48")


def test_what_is_pasted_and_is_no_picture_is_said(visit: Any, address: str, expect: Any) -> None:
    page = visit(address)
    page.context.grant_permissions(["clipboard-read", "clipboard-write"], origin=address)
    page.evaluate("navigator.clipboard.writeText('https://example.org/cat.jpg')")
    page.keyboard.press("Control+V")
    expect(page.get_by_role("alert")).to_contain_text("That holds no picture")


def test_a_dropped_picture_is_searched(visit: Any, address: str, stranger: Path, expect: Any) -> None:
    page = visit(address)
    transfer = page.evaluate_handle(
        """([bytes, name]) => {
      const data = new DataTransfer();
      data.items.add(new File([new Uint8Array(bytes)], name, {type: "image/png"}));
      return data;
    }""",
        [list(stranger.read_bytes()), stranger.name],
    )
    page.dispatch_event("body", "dragenter", {"dataTransfer": transfer})
    expect(page.get_by_text("Drop it anywhere")).to_be_visible()
    page.dispatch_event("body", "drop", {"dataTransfer": transfer})
    page.wait_for_selector(SEARCH)
    expect(page.locator("#query-name")).to_have_text(stranger.name)
    expect(page.get_by_text("Drop it anywhere")).to_be_hidden()


def test_a_photographed_picture_is_searched(visit: Any, address: str, expect: Any) -> None:
    page = visit(address, permissions=["camera"])
    page.get_by_role("button", name="Photograph").click()
    until(page, "document.getElementById('viewfinder').videoWidth > 0")
    page.get_by_role("button", name="Take the picture").click()
    page.wait_for_selector(SEARCH)
    expect(page.locator("#query-name")).to_have_text("photograph.jpg")
    assert page.evaluate("document.getElementById('viewfinder').srcObject") is None  # the camera is off


def test_surprise_me_searches_from_some_picture(visit: Any, address: str, expect: Any) -> None:
    page = visit(address)
    page.get_by_role("button", name="Surprise me").click()
    page.wait_for_selector(SEARCH)
    expect(page.locator("#title")).to_have_text("Like this picture")


@pytest.mark.parametrize("motion", ["reduce", "no-preference"])
def test_one_goes_from_picture_to_picture_and_back_and_forward(
    visit: Any, address: str, motion: str, expect: Any
) -> None:
    page = visit(address, reduced_motion=motion)
    ids = []
    for _ in range(3):
        link = page.locator(".tile").nth(1)
        ids.append(link.get_attribute("data-id"))
        link.click()
        page.wait_for_url(f"{address}/?id={ids[-1]}")
        expect(page.locator("#query-picture")).to_have_attribute("src", f"/thumbnails/{ids[-1]}")
    page.go_back()
    expect(page.locator("#query-picture")).to_have_attribute("src", f"/thumbnails/{ids[1]}")
    page.go_forward()
    expect(page.locator("#query-picture")).to_have_attribute("src", f"/thumbnails/{ids[2]}")
    for _ in range(3):
        page.go_back()
    expect(page.get_by_role("heading", name="Find pictures like yours")).to_be_visible()


def test_a_picture_that_was_brought_is_still_there_when_the_page_is_loaded_again(
    visit: Any, address: str, stranger: Path, expect: Any
) -> None:
    page = visit(address)
    page.locator("#file").set_input_files(stranger)
    expect(page.locator("#query-hint")).to_contain_text("Your picture")
    first = page.locator(".tile").first.get_attribute("data-id")
    page.reload()
    page.wait_for_selector(SEARCH)
    expect(page.locator("#query-name")).to_have_text(stranger.name)
    assert page.locator(".tile").first.get_attribute("data-id") == first
    expect(page.locator("#alert")).to_be_hidden()


def test_a_picture_that_the_browser_did_not_keep_is_not_another(
    visit: Any, address: str, stranger: Path, picture: Path, expect: Any
) -> None:
    page = visit(address)
    page.add_init_script("Object.defineProperty(window, 'indexedDB', {get() { throw new Error('a private window') }})")
    page.reload()
    page.wait_for_selector(".tile img.here")
    page.locator("#file").set_input_files(stranger)
    expect(page.locator("#query-hint")).to_contain_text("Your picture")
    page.reload()
    expect(page.locator("#alert")).to_contain_text("The picture that you brought is gone")
    expect(page.locator(".tile").first).to_be_visible()
    assert page.url == f"{address}/"
    page.get_by_role("button", name="Dismiss").click()
    page.locator("#file").set_input_files(stranger)
    expect(page.locator("#query-hint")).to_contain_text("Your picture")
    page.reload()
    expect(page.locator("#alert")).to_be_visible()
    page.locator("#file").set_input_files(picture)
    expect(page.locator("#query-hint")).to_contain_text("Yours")
    page.go_back()  # back to the page that is now the start
    expect(page.get_by_role("heading", name="Find pictures like yours")).to_be_visible()


def test_a_picture_on_a_slow_way_is_shown_and_can_be_called_back(
    visit: Any, address: str, stranger: Path, expect: Any
) -> None:
    page = visit(address)
    held: list[Any] = []
    page.route("**/search", lambda route: held.append(route))  # noqa: PLW0108 - Playwright marks what it is given
    page.locator("#file").set_input_files(stranger)
    expect(page.locator("#query-hint")).to_have_text("Searching…")
    assert page.locator("#query-picture").evaluate("picture => picture.naturalWidth") == 96
    page.get_by_role("button", name="Cancel").click()
    expect(page.get_by_role("heading", name="Find pictures like yours")).to_be_visible()
    expect(page.locator("#alert")).to_be_hidden()
    page.locator("#file").set_input_files(stranger)
    expect(page.locator("#query-hint")).to_have_text("Searching…")
    page.keyboard.press("Escape")
    expect(page.get_by_role("heading", name="Find pictures like yours")).to_be_visible()
    expect(page.locator("#title")).to_have_text("From the gallery")
    page.unroute("**/search")
    page.locator("#file").set_input_files(stranger)
    expect(page.locator("#query-hint")).to_contain_text("Your picture")


@pytest.mark.parametrize("way", ["button", "key"])
def test_one_leaves_a_search_for_the_start(visit: Any, address: str, way: str, expect: Any) -> None:
    page = visit(address)
    page.locator(".tile").first.click()
    page.wait_for_selector(SEARCH)
    if way == "key":
        page.keyboard.press("Escape")
    else:
        page.get_by_role("button", name="Back to the start").click()
    expect(page.get_by_role("heading", name="Find pictures like yours")).to_be_visible()
    page.go_back()
    page.wait_for_selector(SEARCH)


def test_a_found_picture_opens_as_it_is(visit: Any, address: str, expect: Any) -> None:
    page = visit(address)
    page.locator(".tile").first.click()
    page.wait_for_selector(SEARCH)
    with page.context.expect_page() as opened:
        page.get_by_role("link", name="Open").click()
    assert opened.value.url.startswith(f"{address}/images/")
    assert opened.value.evaluate("document.images[0].naturalWidth") == 96


def test_the_heading_is_seen_when_one_comes_back_from_the_map(visit: Any, address: str, expect: Any) -> None:
    page = visit(address)
    page.locator(".tile").first.click()
    page.wait_for_selector(SEARCH)
    for _ in range(2):
        page.keyboard.press("m")
        page.wait_for_timeout(400)
    seen = page.evaluate("document.querySelector('#title').getBoundingClientRect().top")
    assert seen >= page.evaluate("document.querySelector('.top').getBoundingClientRect().bottom")


def test_back_leads_to_where_one_had_scrolled(visit: Any, address: str, expect: Any) -> None:
    page = visit(address)
    page.get_by_role("button", name="Show all").click()
    expect(page.locator("#detail")).to_have_text("288 pictures")
    page.evaluate("scrollTo(0, 1400)")
    page.wait_for_timeout(300)
    # This element, and not the twentieth picture that is there: pictures arrive meanwhile, and a click scrolls to it.
    tile = page.locator(".tile img.here").nth(20).element_handle()
    tile.scroll_into_view_if_needed()
    page.wait_for_timeout(300)
    scrolled = page.evaluate("scrollY")
    assert scrolled > 500
    tile.click()
    page.wait_for_selector(SEARCH)
    assert page.evaluate("scrollY") == 0
    page.go_back()
    until(page, "(y) => Math.abs(scrollY - y) < 300", scrolled)


def test_an_address_can_be_sent_to_somebody(visit: Any, address: str, expect: Any) -> None:
    page = visit(address)
    page.locator(".tile").first.click()
    page.wait_for_selector(SEARCH)
    page.keyboard.press("b")
    page.wait_for_url("**/*box=*")
    page.locator("#at-least").focus()
    page.keyboard.press("ArrowRight")
    least = page.locator("#at-least-value").inner_text()
    first = page.locator(".tile").first.get_attribute("data-id")
    assert f"min={float(least)}" in page.url
    other = visit(address, page.url.removeprefix(address))
    expect(other.locator("#title")).to_have_text("Like this part")
    expect(other.locator("#at-least-value")).to_have_text(least)
    assert other.locator(".tile").first.get_attribute("data-id") == first


def test_a_label_is_text_whatever_it_says(visit: Any, address: str, expect: Any) -> None:
    page = visit(address)
    page.get_by_role("combobox").fill("onerror")
    page.get_by_role("option").first.click()
    expect(page.locator("#title")).to_have_text("<img src=x onerror=alert(1)> & co")
    expect(page.locator(".caption span").first).to_have_text("<img src=x onerror=alert(1)> & co")


def test_a_search_that_is_overtaken_is_not_shown(visit: Any, address: str, expect: Any) -> None:
    page = visit(address)
    slow: list[Callable[[], None]] = []
    page.route("**/similar/*", lambda route: slow.append(route.continue_) if not slow else route.continue_())
    page.locator(".tile").nth(0).click()
    until(page, "document.getElementById('progress').hidden === false")
    second = page.locator(".tile").nth(1).get_attribute("data-id")
    page.locator(".tile").nth(1).click()
    page.wait_for_url(f"{address}/?id={second}")
    slow[0]()
    page.wait_for_timeout(400)
    assert page.url == f"{address}/?id={second}"

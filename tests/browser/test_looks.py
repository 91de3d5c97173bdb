"""Tests of access for everybody: keyboard only, on a phone, in the dark, without motion, and checked by axe-core."""

import re
from importlib import resources
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from waiting import until

SEARCH = "body[data-mode=search]"
PAGE = resources.files("crossbatch.web") / "page"
WIDTHS = {"wide": 1280, "middle": 820, "phone": 390}


def serious(page: Any) -> list[str]:
    """What axe-core finds serious or critical, each with its place in the page."""
    found = Axe().run(page).response["violations"]
    return [
        f"{one['id']}: {node['html'][:160]}"
        for one in found
        if one["impact"] in {"serious", "critical"}
        for node in one["nodes"]
    ]


def at_rest(page: Any) -> None:
    until(page, "document.getAnimations().every(one => one.playState !== 'running')")


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", WIDTHS)
def test_axe_finds_nothing_serious(visit: Any, address: str, theme: str, width: str, phone: dict[str, Any]) -> None:
    size = phone if width == "phone" else {"viewport": {"width": WIDTHS[width], "height": 860}}
    page = visit(address, color_scheme=theme, **size)
    at_rest(page)
    found = {"start": serious(page)}
    page.get_by_role("combobox").click()
    page.get_by_role("option").first.wait_for()
    found["labels"] = serious(page)
    page.keyboard.press("Escape")
    page.locator(".tile").first.click()
    page.wait_for_selector(SEARCH)
    page.locator("#part").click()
    page.wait_for_url("**/*box=*")
    at_rest(page)
    found["search"] = serious(page)
    page.goto(f"{page.url}&min=1")
    page.get_by_role("button", name="Show all neighbours").wait_for()
    at_rest(page)
    found["nothing"] = serious(page)
    page.get_by_role("button", name="Show all neighbours").click()
    page.get_by_role("button", name="Map").click()
    page.wait_for_selector("#strip:not([hidden])")
    found["map"] = serious(page)
    page.evaluate("document.getElementById('keys').showModal()")
    at_rest(page)
    found["keys"] = serious(page)
    assert found == {state: [] for state in found}


@pytest.mark.parametrize("width", [320, 390, 820, 1280, 2200])
def test_nothing_is_wider_than_the_screen(visit: Any, address: str, width: int) -> None:
    page = visit(address, viewport={"width": width, "height": 800})
    wide = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    assert page.evaluate(wide) <= 0
    page.locator(".tile").first.click()
    page.wait_for_selector(SEARCH)
    assert page.evaluate(wide) <= 0
    page.get_by_role("button", name="Map").click()
    page.wait_for_selector("#strip:not([hidden])")
    assert page.evaluate(wide) <= 0


def test_what_a_finger_touches_is_large_enough(visit: Any, address: str, phone: dict[str, Any]) -> None:
    page = visit(address, **phone)
    page.locator(".tile").first.tap()
    page.wait_for_selector(SEARCH)
    small = page.evaluate("""() => [...document.querySelectorAll("button, a, input[type=text]")]
      .filter((one) => one.checkVisibility({visibilityProperty: true}) && !one.matches(".skip"))
      .map((one) => [one.id || one.className, one.getBoundingClientRect()])
      .filter(([, box]) => box.width && (box.width < 34 || box.height < 34)).map(([name]) => name)""")
    assert small == []


def test_hits_are_seen_at_once_on_a_small_screen(visit: Any, address: str, phone: dict[str, Any]) -> None:
    page = visit(address, **phone)
    page.locator(".tile").first.tap()
    page.wait_for_selector(SEARCH)
    at_rest(page)
    top, height = page.evaluate("[document.querySelector('.tile').getBoundingClientRect().top, innerHeight]")
    assert top < 0.66 * height


def test_on_paper_there_are_pictures_and_no_buttons(visit: Any, address: str) -> None:
    page = visit(address)
    page.locator(".tile").first.click()
    page.wait_for_selector(SEARCH)
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    page.emulate_media(media="print")
    assert page.locator(".tiles li").count() == 200
    assert (
        page.locator("header.top, .ways, .filters").evaluate_all("all => all.some((one) => one.checkVisibility())")
        is False
    )


def test_everything_by_keys_alone(visit: Any, address: str, expect: Any) -> None:
    page = visit(address)
    chosen: list[Any] = []
    page.on("filechooser", lambda chooser: chosen.append(chooser))  # noqa: PLW0108 - Playwright marks what it is given
    page.keyboard.press("Tab")
    expect(page.get_by_text("Skip to the pictures")).to_be_focused()
    page.keyboard.press("Enter")
    for _ in range(12):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.classList.contains('tile')"):
            break
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    columns = int(page.locator("#tiles").evaluate("list => list.style.getPropertyValue('--columns')"))
    for key, place in [
        ("ArrowRight", 1),
        ("ArrowDown", 1 + columns),
        ("ArrowLeft", columns),
        ("ArrowUp", 0),
        ("End", 59),
        ("Home", 0),
        ("PageDown", 4 * columns),
    ]:
        page.keyboard.press(key)
        expect(page.locator(f".tiles li[aria-posinset='{place + 1}'] .tile")).to_be_focused()
        expect(page.locator(f".tiles li[aria-posinset='{place + 1}'] .tile")).to_be_in_viewport()
    page.keyboard.press("Enter")
    page.wait_for_selector(SEARCH)
    expect(page.locator(".tiles li[aria-posinset='1'] .tile")).to_be_focused()
    page.keyboard.press("/")
    expect(page.get_by_role("combobox")).to_be_focused()
    page.keyboard.type("ring 1")
    page.get_by_role("option").first.wait_for()
    page.keyboard.press("Enter")
    page.wait_for_url("**/*label=ring*")
    page.keyboard.press("Escape")
    page.keyboard.press("m")
    page.wait_for_selector("#map:not([hidden])")
    expect(page.locator("#points")).to_be_focused()
    page.keyboard.press("m")
    before = page.url
    page.keyboard.press("s")
    page.wait_for_url(lambda url: url != before)
    page.keyboard.press("?")
    expect(page.get_by_role("dialog")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_be_hidden()
    page.keyboard.press("u")
    for _ in range(100):
        page.wait_for_timeout(50)
        if chosen:
            break
    assert len(chosen) == 1


def test_single_letters_can_be_switched_off_and_stay_off(visit: Any, address: str, expect: Any) -> None:
    page = visit(address)
    page.get_by_role("button", name="Keys").click()
    page.get_by_label("Single letters are shortcuts").uncheck()
    page.get_by_role("button", name="Close").click()
    for _ in range(2):
        page.keyboard.press("m")
        page.wait_for_timeout(200)
        expect(page.locator("#map")).to_be_hidden()
        page.reload()
        page.wait_for_selector(".tile img.here")
    page.locator(".tile").first.click()
    page.wait_for_selector(SEARCH)
    page.keyboard.press("Escape")  # Escape is not a letter, so it still works
    expect(page.get_by_role("heading", name="Find pictures like yours")).to_be_visible()


def test_letters_typed_into_the_field_are_no_shortcuts(visit: Any, address: str, expect: Any) -> None:
    page = visit(address)
    page.get_by_role("combobox").click()
    page.keyboard.type("smbt?")
    expect(page.get_by_role("combobox")).to_have_value("smbt?")
    expect(page.locator("body")).to_have_attribute("data-mode", "start")


def test_dark_and_light_follow_the_system_until_one_chooses(visit: Any, address: str) -> None:
    page = visit(address, color_scheme="dark")
    paper = "() => getComputedStyle(document.body).backgroundColor"
    dark = page.evaluate(paper)
    is_dark, is_light = f"dark => ({paper})() === dark", f"dark => ({paper})() !== dark"
    page.emulate_media(color_scheme="light")
    until(page, is_light, dark)
    page.get_by_role("button", name="Theme").click()
    until(page, is_dark, dark)
    page.reload()
    until(page, is_dark, dark)  # the choice is remembered
    page.get_by_role("button", name="Theme").click()
    until(page, is_light, dark)
    page.emulate_media(color_scheme="dark")
    until(page, is_dark, dark)  # light was also the system's theme, so the page follows the system


def test_without_motion_nothing_moves(visit: Any, address: str) -> None:
    page = visit(address, reduced_motion="reduce")
    page.evaluate("void (document.startViewTransition = () => { throw new Error('it moves'); })")
    page.locator(".tile").first.click()
    page.wait_for_selector(SEARCH)
    longest = page.evaluate(
        "Math.max(0, ...document.getAnimations().map(one => one.effect.getComputedTiming().duration))"
    )
    assert longest <= 1


def test_a_page_without_script_says_so(chromium: Any, address: str) -> None:
    context = chromium.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(address)
    assert "needs JavaScript" in page.locator("body").inner_text()
    context.close()


def test_every_module_is_fetched_at_once_and_there(visit: Any, address: str) -> None:
    html = (PAGE / "index.html").read_text("utf-8")
    linked = set(re.findall(r"/page/(js/\w+\.js)", html))
    assert linked == {f"js/{file.name}" for file in (PAGE / "js").iterdir() if file.name.endswith(".js")}
    page = visit(address)
    missing = page.evaluate(
        """paths => Promise.all(paths.map(async path => [path, (await fetch("/page/" + path)).status]))
      .then(found => found.filter(([, status]) => status !== 200))""",
        sorted(linked),
    )
    assert missing == []


def test_what_others_made_lies_with_its_licence() -> None:
    fonts = {file.name for file in (PAGE / "fonts").iterdir()}
    assert fonts == {"figtree-latin.woff2", "figtree-latin-ext.woff2", "figtree-OFL.txt"}
    assert "SIL OPEN FONT LICENSE" in (PAGE / "fonts" / "figtree-OFL.txt").read_text("utf-8")

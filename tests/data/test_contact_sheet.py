"""Tests of the contact sheet: each class has a row with its name, and every picture is shown whole and large."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from crossbatch.data import contact_sheet as sheets
from crossbatch.data import folder
from crossbatch.data.contact_sheet import GAP, TILE, contact_sheet
from crossbatch.data.split import Split

STEP = TILE + GAP
Colours = np.ndarray


def drawn(root: Path, classes: dict[str, list[tuple[int, int]]]) -> Colours:
    """The sheet [height, width, 3] of red pictures with these sizes, in folders with these names."""
    for name, sizes in classes.items():
        (root / name).mkdir(parents=True)
        for number, size in enumerate(sizes):
            Image.new("RGB", size, "red").save(root / name / f"{number}.png")
    return np.asarray(contact_sheet(folder.load(root, Split(validation_share=0, test_share=0))))


def red(sheet: Colours) -> np.ndarray:
    return (sheet == (255, 0, 0)).all(2)


@pytest.mark.parametrize(
    ("size", "shown"),
    [
        ((3, 3), (64, 64)),
        ((200, 100), (64, 32)),
        ((100, 200), (32, 64)),
        ((1000, 900), (64, 58)),
        ((900, 2), (64, 8)),
        ((1, 700), (8, 64)),
    ],
)
def test_a_picture_of_any_size_fills_its_tile_and_stands_in_its_middle(
    tmp_path: Path, size: tuple[int, int], shown: tuple[int, int]
) -> None:
    seen = red(drawn(tmp_path / "root", {"a": [size, size]}))
    down, across = np.nonzero(seen[:, -STEP:])
    assert (np.ptp(across) + 1, np.ptp(down) + 1) == shown
    for places, middle in ((across, TILE / 2), (down, GAP + TILE / 2)):
        assert abs((places.min() + places.max() + 1) / 2 - middle) <= 1


def test_the_sheet_is_as_wide_as_its_longest_row(tmp_path: Path) -> None:
    few, more = (drawn(tmp_path / str(count), {"a": [(64, 64)] * 2, "b": [(64, 64)] * count}).shape for count in (3, 5))
    assert more[1] - few[1] == 2 * STEP
    assert few[0] == more[0] == 2 * STEP + GAP


@pytest.mark.parametrize("extra", [True, False], ids=["with matplotlib", "without"])
def test_each_row_has_the_name_of_its_class_in_any_script_and_length(
    tmp_path: Path, extra: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not extra:
        monkeypatch.setattr(sheets, "find_spec", lambda _: None)
    names = ["avocado", "界界界", "عربي", "кириллица", "[b]", "long " * 40 + "end"]
    sheet = drawn(tmp_path / "root", dict.fromkeys(names, [(64, 64)] * 2))
    left = sheet[:, : sheet.shape[1] - 2 * STEP - GAP]
    rows = [left[GAP + row * STEP :][:TILE] for row in range(len(names))]
    inked = [(row < 100).all(2) for row in rows]
    assert all(ink.any() for ink in inked)
    assert len({ink.tobytes() for ink in inked}) == len(names)
    assert not any(ink[:, -GAP:].any() for ink in inked), "a name overlaps the pictures"
    assert left.shape[1] <= sheets.NAME + 4 * GAP


def test_a_font_is_taken_that_has_the_characters(monkeypatch: pytest.MonkeyPatch) -> None:
    usual = sheets._font("Äpfel").path
    folder = Path(usual).parent
    others = [str(folder / name) for name in ("cmr10.ttf", "STIXGeneral.ttf")]
    monkeypatch.setattr("matplotlib.font_manager.findSystemFonts", lambda: [*others, "damaged.ttf"])
    found = sheets._font("a \u1d81\u1d84")  # DejaVu and Computer Modern lack these letters
    assert (Path(usual).name, Path(found.path).name) == ("DejaVuSans.ttf", "STIXGeneral.ttf")
    assert Path(sheets._font("\U0010fffd").path).name == "DejaVuSans.ttf", "no font has it: use the usual"

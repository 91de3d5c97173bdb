"""Tests of drawn characters: the filters hold, drawing is reproducible, and a cache file is complete or absent."""

import unicodedata
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from fontTools.ttLib import TTCollection, TTFont
from PIL import ImageFont

from crossbatch import data
from crossbatch.data import glyphs, typefaces
from crossbatch.data.data_set import DataSet
from crossbatch.data.glyphs import cache_folder, draw_cached, font_files, fonts_in
from crossbatch.data.split import Split
from crossbatch.data.typefaces import GlyphImages, draw
from crossbatch.errors import DataError

LATIN_A, GREEK_ALPHA, CYRILLIC_A = 0x41, 0x391, 0x410
# Fonts with few characters, brackets in five sizes, which are drawn quickly.
SYMBOLS = [path for path in font_files() if path.name.startswith("STIXSiz")]


@pytest.fixture(scope="module")
def two_fonts() -> list[Path]:
    return [path for path in font_files() if path.stem in {"DejaVuSansMono-Bold", "DejaVuSansMono-BoldOblique"}]


@pytest.fixture(scope="module")
def two(two_fonts: list[Path]) -> GlyphImages:
    """An upright and an oblique typeface: letters differ, but many symbols are the same."""
    return draw(two_fonts, fewest=2)


def correlations(bitmaps: np.ndarray) -> np.ndarray:
    return np.corrcoef(bitmaps.reshape(len(bitmaps), -1).astype(float))


def test_every_bitmap_has_ink_and_a_margin(two: GlyphImages) -> None:
    assert two.bitmaps.shape[1:] == (32, 32)
    assert two.bitmaps.dtype == np.uint8
    assert len(two.bitmaps) == len(two.codes) == len(two.faces) == len(two) > 1000
    assert (two.bitmaps.max((1, 2)) > 0).all()
    border = np.ones((32, 32), bool)
    border[1:-1, 1:-1] = False
    assert not two.bitmaps[:, border].any()


def test_no_two_code_points_of_a_font_share_a_bitmap(two: GlyphImages) -> None:
    faces = np.array(two.faces)
    for face in set(two.faces):
        of_face = two.bitmaps[faces == face]
        assert len(np.unique(of_face, axis=0)) == len(of_face)
    assert not {LATIN_A, GREEK_ALPHA, CYRILLIC_A} & set(two.codes.tolist())
    assert ord("é") in two.codes


def test_no_class_holds_near_copies(two_fonts: list[Path], two: GlyphImages) -> None:
    copies = draw(two_fonts, same=1.1, fewest=2)
    assert len(copies) > len(two) + 100
    for code in np.unique(copies.codes):
        pair = copies.bitmaps[copies.codes == code]
        assert len(pair) == 2
        # Skip pairs so close to the threshold that float32 rounding decides.
        if correlations(pair)[0, 1] > typefaces.SAME + 1e-4:
            assert code not in two.codes
        if correlations(pair)[0, 1] < typefaces.SAME - 1e-4:
            assert code in two.codes


def test_every_class_has_enough_images_of_different_faces(two: GlyphImages) -> None:
    assert set(Counter(two.codes.tolist()).values()) == {2}
    assert len(set(zip(two.codes.tolist(), two.faces, strict=True))) == len(two)
    counts = Counter(draw(SYMBOLS, fewest=4).codes.tolist())
    assert min(counts.values()) >= 4


def test_nothing_is_drawn_that_the_font_lacks(two_fonts: list[Path], two: GlyphImages) -> None:
    """The box that stands for a missing character is in no class."""
    for path in two_fonts:
        font = ImageFont.truetype(str(path), typefaces.FONT_PIXELS, layout_engine=ImageFont.Layout.BASIC)
        box = typefaces._draw_one("\U000f0000", font)
        assert box is not None
        assert not (two.bitmaps == box).all((1, 2)).any()
    assert all(unicodedata.category(chr(code))[0] not in "CZ" for code in two.codes.tolist())


def test_drawing_again_draws_the_same() -> None:
    first, second = draw(SYMBOLS), draw(SYMBOLS)
    assert np.array_equal(first.bitmaps, second.bitmaps)
    assert np.array_equal(first.codes, second.codes)
    assert first.faces == second.faces


def test_an_image_is_called_by_its_character_and_typeface(two: GlyphImages) -> None:
    place = int(np.flatnonzero(two.codes == ord("é"))[0])
    assert two.name(place) == "U+00E9 LATIN SMALL LETTER E WITH ACUTE in DejaVuSansMono-Bold"
    assert (two.read(place).mode, two.read(place).size) == ("L", (32, 32))
    assert np.array_equal(np.asarray(two.read(place)), two.bitmaps[place])
    assert glyphs.code_name(0xE000) == "U+E000"


def test_fonts_without_a_class_are_refused() -> None:
    with pytest.raises(DataError, match="no character has 5 different images in these 1 fonts: bring more fonts"):
        draw(SYMBOLS[:1])


def test_the_cache_is_where_the_environment_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("CROSSBATCH_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "crossbatch"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_folder() == tmp_path / ".cache" / "crossbatch"
    monkeypatch.setenv("CROSSBATCH_CACHE", str(tmp_path / "mine"))
    assert cache_folder() == tmp_path / "mine"


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache folder for one test, which does not exist yet."""
    monkeypatch.setenv("CROSSBATCH_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def assert_same(found: tuple[GlyphImages, str], expected: GlyphImages) -> None:
    assert np.array_equal(found[0].bitmaps, expected.bitmaps)
    assert np.array_equal(found[0].codes, expected.codes)
    assert found[0].faces == expected.faces


def test_what_is_cached_is_read_and_not_drawn(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = draw(SYMBOLS)
    first = draw_cached(SYMBOLS)
    assert [path.suffix for path in cache.iterdir()] == [".npz"]
    monkeypatch.setattr(glyphs, "draw", lambda fonts: pytest.fail("drawn again"))
    second = draw_cached(SYMBOLS)
    for found in (first, second):
        assert_same(found, expected)
    assert first[1] == second[1]
    assert len(first[1]) == 8
    assert int(first[1], 16) >= 0


def test_other_fonts_have_another_cache_and_fingerprint(cache: Path) -> None:
    fingerprints = {draw_cached(fonts)[1] for fonts in (SYMBOLS, SYMBOLS[1:])}
    assert len(fingerprints) == len(list(cache.iterdir())) == 2


@pytest.mark.parametrize("damage", ["empty", "garbage", "cut", "cut in the middle", "changed", "other arrays"])
def test_a_damaged_cache_is_drawn_again_and_mended(cache: Path, damage: str) -> None:
    expected = draw(SYMBOLS)
    draw_cached(SYMBOLS)
    (path,) = cache.iterdir()
    content = path.read_bytes()
    changed = bytearray(content)
    changed[len(content) // 3] ^= 0xFF
    if damage == "other arrays":
        np.savez(path, bitmaps=expected.bitmaps)
    else:
        damaged = {"empty": b"", "garbage": b"no archive", "cut": content[:-30], "changed": bytes(changed)}
        path.write_bytes(damaged.get(damage, content[: len(content) // 2]))
    assert_same(draw_cached(SYMBOLS), expected)
    assert list(cache.iterdir()) == [path]
    with np.load(path) as mended:
        assert np.array_equal(mended["bitmaps"], expected.bitmaps)


def test_a_cache_that_cannot_be_written_leaves_nothing_behind(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def disk_full(path: Path, **arrays: np.ndarray) -> None:
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(np, "savez_compressed", disk_full)
        assert_same(draw_cached(SYMBOLS), draw(SYMBOLS))
    assert list(cache.iterdir()) == []
    cache.rmdir()
    cache.write_text("a file where the folder should be")
    assert_same(draw_cached(SYMBOLS), draw(SYMBOLS))


def test_the_embedded_set_is_large_and_divided_by_class(glyphs: DataSet) -> None:
    parts = [glyphs.train, glyphs.validation, glyphs.query]
    held = [set(part.labels.tolist()) for part in parts]
    classes = len(glyphs.class_names)
    assert classes > 2000
    assert len(glyphs.images) > 20_000
    assert [len(part) for part in held] == [len(held[0]), round(0.2 * (classes - len(held[2]))), round(0.5 * classes)]
    assert set.union(*held) == set(range(classes))
    assert sum(map(len, held)) == classes
    assert torch.equal(torch.cat([part.ids for part in parts]).sort().values, torch.arange(len(glyphs.images)))
    assert min(Counter(torch.cat([part.labels for part in parts]).tolist()).values()) >= 5


def test_labels_of_the_embedded_set_are_its_characters(glyphs: DataSet) -> None:
    for part in (glyphs.train, glyphs.validation, glyphs.query):
        for place in range(0, len(part), 997):
            name = glyphs.images.name(int(part.ids[place]))
            assert name.startswith(f"{glyphs.class_names[part.labels[place]]} in ")


def test_the_embedded_set_says_what_it_is(glyphs: DataSet) -> None:
    assert (glyphs.channels, glyphs.image_size, glyphs.gallery) == (1, 32, None)
    assert len(glyphs.fingerprint) == 8
    assert int(glyphs.fingerprint, 16) >= 0


def test_the_embedded_set_has_no_root(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"glyphs are drawn, not read: leave ROOT out, got "):
        glyphs.load(tmp_path, Split())


def test_an_outline_that_typefaces_of_a_file_share_is_drawn_once(tmp_path: Path) -> None:
    """A file has two typefaces with the same outlines, but the second maps one character to the outline of another."""
    source = SYMBOLS[0]
    collection = TTCollection()
    collection.fonts = [TTFont(source), TTFont(source)]
    changed = collection.fonts[1]
    one, another = list(changed.getBestCmap())[5:7]
    for table in changed["cmap"].tables:
        if one in table.cmap:
            table.cmap[one] = table.cmap[another]
    path = tmp_path / "two.ttc"
    collection.save(path, shareTables=True)
    single = Counter(code for code, _, _ in typefaces._draw_font(source, None))
    double = Counter(code for code, _, _ in typefaces._draw_font(path, None))
    # In the second typeface `one` has the bitmap of `another`. A bitmap of two characters is left out.
    assert {code for code in single | double if single[code] != double[code]} == {another}
    assert (single[another], double[another], double[one]) == (1, 0, 1)


def test_a_script_is_drawn_alone(monkeypatch: pytest.MonkeyPatch, two_fonts: list[Path]) -> None:
    monkeypatch.setitem(typefaces.SCRIPTS, "han", "GREEK SMALL")
    drawn = draw(two_fonts, script="han", fewest=2)
    assert len(drawn) > 50
    assert all(unicodedata.name(chr(code)).startswith("GREEK SMALL") for code in drawn.codes.tolist())


def test_hanzi_has_the_counts_of_sop(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The drawn set is as large as with Debian's fonts, but has empty bitmaps."""
    counts = torch.randint(5, 16, (25_000,))
    codes = torch.arange(0x4E00, 0x4E00 + len(counts)).repeat_interleave(counts)
    images = GlyphImages(np.zeros((len(codes), 1, 1), np.uint8), codes.numpy(), ["face"] * len(codes))
    monkeypatch.setattr(glyphs, "draw_cached", lambda fonts, script: (images, "0" * 8))
    fonts = [SYMBOLS[0]]
    found = glyphs.load(None, Split(validation_share=0), fonts, "han")
    assert {name: (len(part), part.classes) for name, part in found.parts.items()} == {
        "train": (59_551, 11_318),
        "test": (60_502, 11_316),
    }
    assert (found.name, found.ks) == ("hanzi", (1, 10, 100, 1000))
    assert not set(found.train.labels.tolist()) & set(found.query.labels.tolist())
    for part in found.parts.values():
        assert part.labels.unique(return_counts=True)[1].min() >= 2
        assert len(part.ids.unique()) == len(part)
        assert torch.equal(torch.from_numpy(np.unique(codes, return_inverse=True)[1])[part.ids], part.labels)
    again, other = (glyphs.load(None, Split(seed=seed), fonts, "han") for seed in (0, 1))
    assert torch.equal(again.query.ids, found.query.ids)
    assert not torch.equal(other.query.ids, found.query.ids)
    few = GlyphImages(images.bitmaps[:5000], images.codes[:5000], images.faces[:5000])
    monkeypatch.setattr(glyphs, "draw_cached", lambda fonts, script: (few, "0" * 8))
    with pytest.raises(DataError, match=r"these fonts have 4.. characters in five typefaces or more"):
        glyphs.load(None, Split(), fonts, "han")


def test_fonts_are_found_once_each_whatever_links_lead_to_them(tmp_path: Path) -> None:
    (tmp_path / "deep" / "er").mkdir(parents=True)
    (tmp_path / "deep" / "er" / "a.TTF").write_bytes(b"font")
    (tmp_path / "deep" / "readme.txt").write_bytes(b"no font")
    (tmp_path / "link.ttf").symlink_to(tmp_path / "deep" / "er" / "a.TTF")
    assert fonts_in([tmp_path, tmp_path / "link.ttf"]) == [tmp_path / "deep" / "er" / "a.TTF"]


def test_fonts_that_are_not_there_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"there are no fonts in --fonts .*: it does not exist"):
        glyphs.load(fonts=[tmp_path / "none"], script="han")
    with pytest.raises(DataError, match=r"no .ttf, .otf, .ttc, .otc file in --fonts"):
        glyphs.load(fonts=[tmp_path], script="han")
    (tmp_path / "bad.ttf").write_bytes(b"no font")
    with pytest.raises(DataError, match=r"the font .*bad.ttf cannot be read"):
        draw(fonts_in([tmp_path]))
    with pytest.raises(
        DataError, match="the script han is not in the embedded fonts: say where fonts are with --fonts"
    ):
        glyphs.load(script="han")
    with pytest.raises(DataError, match="--fonts and --script are for --data glyphs, not for sop: leave them out"):
        data.load("sop", tmp_path, script="han")

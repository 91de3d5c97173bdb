"""Tests of randomly damaged input: the result is a data set or one sentence, never a traceback or a partial file."""

import io
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from PIL import Image

from crossbatch import data
from crossbatch.data.batches import PartBatches, Reader
from crossbatch.data.folder import ROLE_OF
from crossbatch.data.split import Split
from crossbatch.data.transforms import Evenly, Preprocessing
from crossbatch.errors import DataError

quietly = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])
KINDS = ["JPEG", "PNG", "BMP", "GIF", "WEBP", "TIFF"]
NAMES = st.text(st.characters(blacklist_characters="/\0", blacklist_categories=["Cs"]), min_size=1, max_size=12).filter(
    lambda name: name not in (".", "..") and name.lower() not in ROLE_OF
)
PREPROCESSING = Preprocessing(8, 8, 3, (0.5,) * 3, (0.5,) * 3)


def encoded(kind: str, seed: int) -> bytes:
    file = io.BytesIO()
    pixels = np.random.default_rng(seed).integers(0, 256, (12, 12, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(file, kind)
    return file.getvalue()


def damaged(content: bytes, chance: random.Random) -> bytes:
    """The content unchanged, cut, empty, with changed bytes, or replaced by random bytes."""
    way = chance.randrange(5)
    if way == 1:
        return content[: chance.randrange(len(content))]
    if way == 2:
        return b""
    if way == 3:
        spoilt = bytearray(content)
        for _ in range(chance.randrange(1, 12)):
            spoilt[chance.randrange(len(spoilt))] = chance.randrange(256)
        return bytes(spoilt)
    return content if way == 0 else bytes(chance.randrange(256) for _ in range(chance.randrange(64)))


def read_whole(loaded: data.data_set.DataSet) -> None:
    """Read every image and its name. Images that cannot be read are left out."""
    reader = Reader(loaded.images, "skip")
    for part in loaded.parts.values():
        batches = PartBatches(reader, part, Evenly(PREPROCESSING), 16)
        for number in range(len(batches)):
            batches[number]
    for number in range(len(loaded.images)):
        loaded.images.name(number).encode()


def outcome(root: Path, name: str) -> str:
    """The one-sentence error message, or an empty text if the data set was read."""
    told = ""
    try:
        read_whole(data.load(name, root, Split(validation_share=0)))
    except DataError as error:
        told = str(error) or "an error without a word"
    assert "\n" not in told
    assert told != "an error without a word"
    return told


@given(st.integers(0, 10**9), st.lists(NAMES, min_size=1, max_size=5, unique=True))
@quietly
def test_trees_of_damaged_files(
    tmp_path_factory: pytest.TempPathFactory, capsys: pytest.CaptureFixture[str], seed: int, names: list[str]
) -> None:
    chance, root = random.Random(seed), tmp_path_factory.mktemp("tree")
    for name in [*names, "fine", "also fine"]:
        try:
            (root / name).mkdir()
        except OSError:
            continue
        for number in range(3):
            content = encoded(chance.choice(KINDS), number + 3 * len(name))
            spoil = name not in ("fine", "also fine")
            suffix = chance.choice([".jpg", ".png", ".heic", "", ".txt", ".tif"])
            (root / name / f"{number}{suffix if spoil else '.png'}").write_bytes(
                damaged(content, chance) if spoil else content
            )
    told = outcome(root, "folder")
    assert told == "" or "two images: change the share, or have other classes drawn" in told
    assert "Traceback" not in capsys.readouterr().err


@given(st.integers(0, 10**9))
@example(0)
@quietly
def test_tables_damaged_at_random(tmp_path_factory: pytest.TempPathFactory, seed: int) -> None:
    chance, root = random.Random(seed), tmp_path_factory.mktemp("table")
    rows = []
    for number in range(8):
        (root / f"{number}.png").write_bytes(encoded("PNG", number))
        rows.append(f"{number}.png,{number // 2}")
    table = root / "table.csv"
    content = "\n".join(["path,label", *rows, ""]).encode(chance.choice(["utf-8", "utf-8-sig", "utf-16"]))
    table.write_bytes(damaged(content, chance))
    outcome(table, "csv")


@given(st.lists(st.tuples(st.text(max_size=8), st.text(max_size=8), st.text(max_size=8)), min_size=1, max_size=6))
@quietly
def test_tables_of_any_text(tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str, str]]) -> None:
    root = tmp_path_factory.mktemp("text")
    table = root / "table.csv"
    lines = ["path,label,role", *(",".join(row) for row in rows)]
    table.write_bytes("\n".join(lines).encode("utf-8", "surrogatepass"))
    assert outcome(table, "csv")


READ = """
import resource, sys, warnings
warnings.simplefilter("error")
from pathlib import Path
from crossbatch.data.crops import View
from crossbatch.data.image_files import FileImages
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
images = FileImages([Path(sys.argv[1])], Path("/"))
try:
    images.see(0, lambda w, h: View((w, h), (0, 0, w, h), (224, 224)))
except Exception as error:
    print(error)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


@pytest.mark.long
@pytest.mark.parametrize(("kind", "side", "told"), [("JPEG", 10_000, ""), ("PNG", 14_200, "decompression bomb")])
def test_enormous_images_are_read_or_refused_within_500_mb(kind: str, side: int, told: str, tmp_path: Path) -> None:
    file = tmp_path / "enormous"
    Image.new("L", (side, side), 90).save(file, kind)
    done = subprocess.run([sys.executable, "-c", READ, str(file)], capture_output=True, text=True, check=True)
    *said, megabytes = done.stdout.splitlines()
    assert told in " ".join(said)
    assert bool(said) == bool(told)
    assert done.stderr == ""
    assert int(megabytes) < 500

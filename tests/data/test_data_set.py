"""Tests that parts are divided by class, and that a file that is not an image is refused by name."""

import random
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from crossbatch import data
from crossbatch.data.data_set import Part, hold_out, queries, require_pairs
from crossbatch.data.image_files import FileImages
from crossbatch.errors import CrossBatchError, DataError

PART = Part(torch.tensor([4, 9, 4, 2, 9, 4]), torch.arange(10, 16))


def test_a_part_keeps_labels_and_ids_together() -> None:
    chosen = PART.select(PART.labels == 4)
    assert (chosen.labels.tolist(), chosen.ids.tolist()) == ([4, 4, 4], [10, 12, 15])
    both = chosen + PART.select(PART.labels == 2)
    assert (both.labels.tolist(), both.ids.tolist()) == ([4, 4, 4, 2], [10, 12, 15, 13])
    assert (len(PART), PART.classes) == (6, 3)


def test_a_query_needs_another_image_of_its_class() -> None:
    assert queries(PART).tolist() == [True, True, True, False, True, True]
    assert queries(PART.select(PART.labels == 0)).tolist() == []


@given(
    labels=st.lists(st.integers(0, 8) | st.just(2**60), min_size=1, max_size=40),
    share=st.floats(0, 0.99),
    seed=st.integers(0, 100),
)
@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_holding_out_divides_whole_classes(labels: list[int], share: float, seed: int) -> None:
    part = Part(torch.tensor(labels), torch.arange(len(labels)))
    fewest = 2 if part.classes >= 5 else 1  # with a single class, R@1 is always 1
    held_classes = 0 if share == 0 else max(fewest, round(share * part.classes))
    if held_classes >= part.classes:
        with pytest.raises(DataError, match="too few to hold out the share="):
            hold_out(part, share, seed, "the share")
        return
    rest, held = hold_out(part, share, seed, "the share")
    assert not set(rest.labels.tolist()) & set(held.labels.tolist())
    assert sorted(rest.ids.tolist() + held.ids.tolist()) == list(range(len(labels)))
    assert held.classes == held_classes
    assert all(labels[image] == label for image, label in zip(held.ids.tolist(), held.labels.tolist(), strict=True))
    assert torch.equal(hold_out(part, share, seed, "the share")[1].ids, held.ids)


def test_another_seed_holds_out_other_classes() -> None:
    part = Part(torch.arange(100), torch.arange(100))
    held = [set(hold_out(part, 0.3, seed, "the share")[1].ids.tolist()) for seed in (0, 1)]
    assert held[0] != held[1]


@pytest.mark.parametrize("share", [-0.1, 1.0, 3.0])
def test_a_share_is_below_1(share: float) -> None:
    with pytest.raises(DataError, match=f"--split.test_share must be at least 0 and below 1, got {share}"):
        hold_out(PART, share, 0, "--split.test_share")


def test_a_part_without_a_pair_is_refused() -> None:
    require_pairs(PART, "part")
    with pytest.raises(DataError, match=r"no class of the training part has two images \(3 images, 3 classes\)"):
        require_pairs(Part(torch.arange(3), torch.arange(3)), "training part")


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "P", "1", "CMYK", "LA"])
def test_every_file_is_read_as_rgb(mode: str, tmp_path: Path) -> None:
    path = tmp_path / "image.tif"
    Image.new("L", (3, 2), 255).convert(mode).save(path)
    image = FileImages([path], tmp_path).read(0)
    assert (image.mode, image.size) == ("RGB", (3, 2))
    assert np.asarray(image).min() == 255


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning", "ignore::UserWarning:PIL")
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "BMP", "GIF", "WEBP", "TIFF"])
def test_a_damaged_file_is_read_or_refused_by_name(kind: str, tmp_path: Path) -> None:
    """A file that is cut short or has changed bytes gives no other error, and no message of several lines."""
    rng, file, path = random.Random(0), BytesIO(), tmp_path / "damaged"
    pixels = np.random.default_rng(0).integers(0, 255, (12, 12, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(file, kind)
    refused = []
    for number in range(60):
        content = bytearray(file.getvalue())
        if number % 2:
            content = content[: rng.randrange(len(content))]
        else:
            for _ in range(10):
                content[rng.randrange(min(len(content), 60))] = rng.randrange(256)
        path.write_bytes(content)
        try:
            FileImages([path], tmp_path).read(0)
        except DataError as error:
            refused.append(str(error))
    assert len(refused) > 10
    assert all(message.startswith(f"cannot read the image {path} (") for message in refused)
    assert all(message.endswith("); mend or remove it") for message in refused)
    assert not any("\n" in message for message in refused)


def test_a_file_that_is_gone_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"cannot read the image .*gone.png \(.*No such file"):
        FileImages([tmp_path / "gone.png"], tmp_path).read(0)


def test_an_image_is_called_by_its_path_below_the_root(tmp_path: Path) -> None:
    images = FileImages([tmp_path / "cats" / "a.png", Path("/elsewhere/b.png")], tmp_path)
    assert [images.name(0), images.name(1)] == [str(Path("cats", "a.png")), str(Path("/elsewhere/b.png"))]
    assert len(images) == 2


def test_an_unknown_data_set_is_refused_with_a_near_name() -> None:
    with pytest.raises(DataError, match=r"no data set 'glyph' \(did you mean glyphs\?\): choose one of glyphs, folder"):
        data.load("glyph")
    with pytest.raises(CrossBatchError, match="no data set 'imagenet': choose one of"):
        data.load("imagenet")

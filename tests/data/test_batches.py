"""Tests of batches: by step for training, in order for evaluation, and with files that cannot be read."""

import pickle
from collections.abc import Callable
from functools import partial
from pathlib import Path
from threading import Barrier

import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader

from crossbatch.data.augment import POLICIES
from crossbatch.data.augmentation import Augmentation
from crossbatch.data.batches import PartBatches, Reader, TrainingBatches
from crossbatch.data.data_set import Part
from crossbatch.data.image_files import FileImages
from crossbatch.data.pk_batches import PKBatches, Steps
from crossbatch.data.transforms import Evenly, Preprocessing, Transform
from crossbatch.errors import DataError
from crossbatch.training.cores import torch_threads

PREPROCESSING = Preprocessing(8, 8, 1, (0.0,), (1.0,))
LABELS = torch.tensor([5, 5, 5, 5, 3, 3, 3, 9, 9, 9])
# The part has the images in reverse order, so that a position differs from an id.
PART = Part(LABELS, torch.tensor([9, 8, 7, 6, 5, 4, 3, 2, 1, 0]))
STEPS = range(30)
photo, drawn = (partial(Augmentation, amounts=POLICIES[policy]) for policy in ("photo", "drawn"))


@pytest.fixture
def images(tmp_path: Path) -> FileImages:
    """Ten files. All pixels of image `id` have the grey level 10 · id, so that pixels identify the image."""
    for image in range(10):
        Image.new("L", (9, 8), 10 * image).save(tmp_path / f"{image}.png")
    return FileImages([tmp_path / f"{image}.png" for image in range(10)], tmp_path)


def spoil(images: FileImages, *ids: int) -> None:
    for image in ids:
        images.paths[image].write_bytes(b"no image")


def training(
    images: FileImages,
    on_corrupt: str = "refuse",
    transform: Callable[[Preprocessing], Transform] = Evenly,
    classes: int = 2,
):
    batches = PKBatches(LABELS, classes, 3, seed=0)
    return TrainingBatches(Reader(images, on_corrupt), PART, batches, transform(PREPROCESSING))


def ids_in(pixels: torch.Tensor) -> list[int]:
    """The ids of the images that the pixels come from."""
    assert (pixels == pixels[:, :, :1, :1]).all()
    return (pixels[:, 0, 0, 0] * 25.5).round().long().tolist()


def test_images_labels_and_ids_of_a_batch_belong_together(images: FileImages) -> None:
    labels = dict(zip(PART.ids.tolist(), PART.labels.tolist(), strict=True))
    for step in STEPS:
        pixels, batch_labels, ids = training(images)[step]
        assert pixels.shape == (6, 1, 8, 8)
        assert ids_in(pixels) == ids.tolist() == PART.ids[PKBatches(LABELS, 2, 3, seed=0)[step]].tolist()
        assert batch_labels.tolist() == [labels[image] for image in ids.tolist()]


def test_files_with_the_same_bytes_have_one_id_and_are_still_read_each(images: FileImages) -> None:
    batches, copies = training(images), [[0, 5, 7], [1, 2]]
    one_id = TrainingBatches(batches.reader, PART, batches.batches, batches.transform, copies=copies)
    seen = set()
    for step in STEPS:
        pixels, labels, ids = one_id[step]
        read, expected_labels, read_ids = batches[step]
        assert torch.equal(pixels, read)
        assert torch.equal(labels, expected_labels)
        assert ids.tolist() == [{5: 0, 7: 0, 2: 1}.get(image, image) for image in read_ids.tolist()]
        seen |= {*read_ids.tolist()}
    assert seen == {*range(10)}


def test_a_batch_is_a_pure_function_of_its_step(images: FileImages) -> None:
    for image in range(10):
        Image.effect_noise((20, 20), 90).save(images.paths[image])
    batches = training(images, transform=photo)
    in_sequence = [batches[step] for step in range(6)]
    for step in (4, 1, 5):
        for again in (batches[step], training(images, transform=photo)[step]):
            assert all(torch.equal(a, b) for a, b in zip(again, in_sequence[step], strict=True))
    assert not torch.equal(in_sequence[0][0], in_sequence[1][0])


def test_another_seed_or_variant_changes_each_image_in_another_way(images: FileImages) -> None:
    seeds: list[int] = []

    class Noting(Evenly):
        def look(self, seed: int) -> object:
            seeds.append(seed)
            return super().look(seed)

    for seed, variant in ((0, 0), (1, 0), (0, 1)):
        batches = PKBatches(LABELS, 2, 3, seed=seed)
        TrainingBatches(Reader(images), PART, batches, Noting(PREPROCESSING), variant=variant)[5]
    assert len(set(seeds)) == len(seeds) == 18


def test_a_batch_does_not_depend_on_who_reads_it(images: FileImages) -> None:
    """Read by one thread, by several threads, and by a loader process forked after torch has started threads."""
    noise = Image.effect_noise((90, 70), 90)
    for image, path in enumerate(images.paths):
        noise.rotate(7 * image).save(path, "JPEG")
    spoil(images, 8)
    found = []
    loader = DataLoader(training(images, "skip", photo), batch_size=None, sampler=range(4), num_workers=1)
    for count in (1, 3):
        with torch_threads(count):
            torch.rand(300, 300) @ torch.rand(300, 300)
            found.append([training(images, "skip", photo)[step] for step in range(4)])
    with torch_threads(3):
        found.append(list(loader))
    for step in range(4):
        for other in found[1:]:
            assert all(torch.equal(a, b) for a, b in zip(found[0][step], other[step], strict=True))


def test_files_are_read_on_as_many_threads_as_torch_has(
    images: FileImages, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A file that cannot be read is reported once, even if two threads read it."""
    spoil(images, 8)
    met, see = Barrier(2, timeout=10), FileImages.see
    monkeypatch.setattr(FileImages, "see", lambda self, index, look: (met.wait() and None) or see(self, index, look))
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    look = Evenly(PREPROCESSING).look(0)
    seen = Reader(images, "skip").see([8, 8, 1, 2], [look] * 4)
    assert [view is None for view in seen] == [True, True, False, False]
    assert capsys.readouterr().err.count("\n") == 1


def test_what_a_loader_process_is_given_can_be_pickled(images: FileImages) -> None:
    """On macOS and Windows, it is pickled for each loader process."""
    for transform in (Evenly, photo, drawn):
        batches = training(images, transform=transform)
        assert torch.equal(pickle.loads(pickle.dumps(batches))[3][0], batches[3][0])
    part = PartBatches(Reader(images), PART, Evenly(PREPROCESSING))
    assert torch.equal(pickle.loads(pickle.dumps(part))[0][0], part[0][0])


def test_a_loader_starts_at_the_step_of_the_run(images: FileImages) -> None:
    batches = training(images)
    loader = DataLoader(batches, batch_size=None, sampler=Steps(lambda: 7))
    for step, (pixels, _, ids) in zip(range(7, 10), loader, strict=False):
        assert torch.equal(ids, batches[step][2])
        assert torch.equal(pixels, batches[step][0])


def test_a_corrupt_image_is_refused_by_name(images: FileImages) -> None:
    spoil(images, 4)
    with pytest.raises(
        DataError, match=r"^cannot read the image .*4\.png \(.*\); mend or remove it, or --loop.on_corrupt"
    ):
        [training(images)[step] for step in STEPS]
    with pytest.raises(DataError, match=r"4\.png"):
        PartBatches(Reader(images), PART, Evenly(PREPROCESSING), size=4)[1]


def test_a_skipped_image_is_named_once_and_replaced_within_its_class(
    images: FileImages, capsys: pytest.CaptureFixture[str]
) -> None:
    expected = [training(images)[step] for step in STEPS]
    spoil(images, 8)
    batches = training(images, "skip")
    found = [batches[step] for step in STEPS]
    told = capsys.readouterr()
    assert told.err.count("\n") == 1
    assert told.err.startswith(f"skipped: cannot read the image {images.paths[8]} (")
    assert told.out == ""
    assert any(8 in ids.tolist() for _, _, ids in expected)
    for (_, labels, ids), (pixels, found_labels, found_ids) in zip(expected, found, strict=True):
        assert torch.equal(labels, found_labels)
        assert ids_in(pixels) == found_ids.tolist()
        assert (ids == found_ids)[ids != 8].all()
        # Class 5 has three other images and a batch takes three per class, so no image is repeated.
        assert len(set(found_ids.tolist())) == 6
        assert 8 not in found_ids


def test_a_share_replaces_a_skipped_image_by_one_that_no_other_share_has(images: FileImages) -> None:
    spoil(images, 8)
    whole, twice = training(images, "skip"), 0
    for step in STEPS:
        shares = []
        for rank in range(3):
            own = training(images, "skip")
            own.share = (rank, 3)
            shares += own[step][2].tolist()
        assert shares == whole[step][2].tolist()
        twice += len(set(shares)) < len(shares)
    assert twice == 0


def test_shares_replace_two_skipped_images_of_a_class_by_two_others(tmp_path: Path) -> None:
    for image in range(16):
        Image.new("L", (9, 8), 10 * image).save(tmp_path / f"{image}.png")
    files = FileImages([tmp_path / f"{image}.png" for image in range(16)], tmp_path)
    spoil(files, 0, 1)
    labels = torch.arange(2).repeat_interleave(8)
    parts = Part(labels, torch.arange(16)), PKBatches(labels, 2, 4, seed=0), Evenly(PREPROCESSING)
    for step in STEPS:
        whole = TrainingBatches(Reader(files, "skip"), *parts)[step][2].tolist()
        shares = [
            TrainingBatches(Reader(files, "skip"), *parts, share=(rank, 8))[step][2].tolist() for rank in range(8)
        ]
        assert [image for share in shares for image in share] == whole
        assert len(set(whole)) == 8


def test_what_replaces_a_skipped_image_is_a_pure_function_of_the_step_too(images: FileImages) -> None:
    spoil(images, 8, 5)
    batches = training(images, "skip")
    for step in STEPS:
        batches[step]
    for step in (9, 2, 17):
        assert torch.equal(batches[step][2], training(images, "skip")[step][2])


def test_a_corrupt_image_is_tried_once(images: FileImages, monkeypatch: pytest.MonkeyPatch) -> None:
    spoil(images, 8, 7)
    tried = []
    see = FileImages.see
    monkeypatch.setattr(FileImages, "see", lambda self, index, look: tried.append(index) or see(self, index, look))
    batches = training(images, "skip")
    for step in STEPS:
        batches[step]
    assert (tried.count(8), tried.count(7)) == (1, 1)


def test_with_one_image_left_a_class_repeats_it(images: FileImages) -> None:
    spoil(images, 5, 4)
    for step in STEPS:
        _, labels, ids = training(images, "skip", classes=3)[step]
        assert ids[labels == 3].tolist() == [3, 3, 3]


def test_a_class_without_a_readable_image_is_refused(images: FileImages) -> None:
    spoil(images, 3, 4, 5)
    with pytest.raises(DataError, match=r"^no image of the class of [345]\.png can be read: mend or remove the class$"):
        training(images, "skip", classes=3)[0]


@pytest.mark.parametrize("size", [1, 3, 10, 256])
def test_a_part_comes_in_order_and_whole(images: FileImages, size: int) -> None:
    batches = PartBatches(Reader(images), PART, Evenly(PREPROCESSING), size=size)
    found = [batches[number] for number in range(len(batches))]
    assert [len(ids) for _, _, ids in found[:-1]] == [size] * (len(found) - 1)
    assert torch.cat([ids for _, _, ids in found]).tolist() == PART.ids.tolist()
    assert torch.cat([labels for _, labels, _ in found]).tolist() == LABELS.tolist()
    assert ids_in(torch.cat([pixels for pixels, _, _ in found])) == PART.ids.tolist()
    with pytest.raises(IndexError):
        batches[len(batches)]


def test_images_of_a_part_that_cannot_be_read_are_left_out(
    images: FileImages, capsys: pytest.CaptureFixture[str]
) -> None:
    spoil(images, 8, 4, 3)
    batches = PartBatches(Reader(images, "skip"), PART, Evenly(PREPROCESSING), size=2)
    for _ in range(2):
        found = [batches[number] for number in range(len(batches))]
        assert [ids.tolist() for _, _, ids in found] == [[9], [7, 6], [5], [2], [1, 0]]
        assert [labels.tolist() for _, labels, _ in found] == [[5], [5, 5], [3], [9], [9, 9]]
        assert [ids_in(pixels) for pixels, _, _ in found] == [[9], [7, 6], [5], [2], [1, 0]]
    assert capsys.readouterr().err.count("\n") == 3


def test_a_batch_of_a_part_may_be_empty(images: FileImages) -> None:
    spoil(images, 9, 8)
    pixels, labels, ids = PartBatches(Reader(images, "skip"), PART, Evenly(PREPROCESSING), size=2)[0]
    assert len(pixels) == len(labels) == len(ids) == 0


def test_an_empty_part_has_no_batches(images: FileImages) -> None:
    batches = PartBatches(Reader(images), PART.select(LABELS == 0), Evenly(PREPROCESSING))
    assert len(batches) == 0
    assert list(batches) == []

"""Tests of `load`: it embeds whatever a program has, to the same rows as evaluation searches."""

import io
import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest
import torch
from encoder.conftest import PREPROCESSING, write_run
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

import crossbatch
from crossbatch import data
from crossbatch.data.data_set import Part
from crossbatch.encoder import encoder
from crossbatch.errors import CrossBatchError, DataError, DivergedError, RunError, SettingError
from crossbatch.models import checkpoint
from crossbatch.models.embedder import Embedder


@pytest.fixture
def files(pictures: Path) -> list[Path]:
    return sorted(pictures.rglob("*.png"))


def test_rows_have_length_one_and_the_model_tells_what_it_is(run: Path, files: list[Path]) -> None:
    model = crossbatch.load(run)
    rows = model.embed(map(str, files))
    assert rows.dtype == np.float32
    assert rows.shape == (len(files), model.dim)
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-6)
    assert model.description.backbone == "small"
    assert repr(model).endswith("small, 16×16 pixels → 8 dimensions)")
    assert model.embed([]).shape == (0, 8)


def test_rows_are_those_that_evaluation_searches_to_the_bit(run: Path, pictures: Path) -> None:
    model, loaded = crossbatch.load(run), data.load("folder", pictures)
    everything = Part(torch.zeros(72, dtype=torch.int64), torch.arange(72))
    rows, _, ids = model.embed_part(loaded.images, everything)
    assert torch.equal(ids, torch.arange(72))
    assert np.array_equal(rows.numpy(), model.embed([loaded.images.paths[one] for one in range(72)]))


def test_a_row_does_not_depend_on_its_neighbours(run: Path, files: list[Path]) -> None:
    model = crossbatch.load(run)
    order = np.random.default_rng(0).permutation(len(files))
    rows = model.embed(files)
    np.testing.assert_allclose(model.embed([files[one] for one in order]), rows[order], atol=1e-6)
    np.testing.assert_allclose(model.embed(files, batch_size=7), rows, atol=1e-6)


@pytest.mark.parametrize("way", ["a step", "a write to .data"])
def test_a_network_that_is_trained_further_embeds_with_its_new_weights(way: str, run: Path, files: list[Path]) -> None:
    """torch does not count writes to `.data` as new versions of a parameter."""
    model = crossbatch.load(run)
    assert isinstance(model.network, torch.nn.Module)
    before, name = model.embed(files), model.fingerprint
    model.network.train()
    if way == "a step":
        images = torch.stack([model.preprocess(Image.open(file)) for file in files[:8]])
        model.network(images)[:, 0].sum().backward()
        torch.optim.SGD(model.network.parameters(), lr=1.0).step()
    else:
        for parameter in model.network.parameters():
            parameter.data += 0.3 * torch.randn_like(parameter)
    after = model.embed(files)
    assert model.network.training
    assert model.fingerprint != name
    assert np.abs(after - before).max() > 0.01
    with torch.no_grad():
        expected = model.network.eval()(torch.stack([model.preprocess(Image.open(file)) for file in files]))
    np.testing.assert_allclose(after, expected, atol=1e-5)


def test_each_part_of_a_network_stays_in_the_mode_that_it_was_in(run: Path, files: list[Path]) -> None:
    model = crossbatch.load(run)
    assert isinstance(model.network, torch.nn.Module)
    next(model.network.train().children()).eval()
    modes = [part.training for part in model.network.modules()]
    assert {True, False} == set(modes)
    model.embed(files)
    assert [part.training for part in model.network.modules()] == modes


def test_a_model_that_is_loaded_in_inference_mode_embeds_and_can_be_trained(run: Path, files: list[Path]) -> None:
    with torch.inference_mode():
        model = crossbatch.load(run)
        rows = model.embed(files)
    np.testing.assert_array_equal(model.embed(files), rows)
    assert isinstance(model.network, torch.nn.Module)
    model.network.train()(torch.randn(4, 3, 16, 16)).sum().backward()


def test_a_network_is_folded_once_for_as_long_as_it_stays(
    run: Path, files: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    fold, count = encoder.folded, []
    monkeypatch.setattr(encoder, "folded", lambda *given: count.append(1) or fold(*given))
    model = crossbatch.load(run)
    for _ in range(3):
        model.embed(files[:2])
    assert len(count) == 1


def test_threads_that_embed_first_at_once_have_the_same_rows(run: Path, files: list[Path]) -> None:
    expected = crossbatch.load(run).embed(files)
    for _ in range(3):
        model = crossbatch.load(run)
        with ThreadPoolExecutor(6) as pool:
            for rows in pool.map(model.embed, [files] * 6):
                np.testing.assert_array_equal(rows, expected)


def test_a_file_and_its_opened_image_have_one_row(run: Path, odd_files: list[Path]) -> None:
    model = crossbatch.load(run)
    rows = model.embed(odd_files)
    with ExitStack() as still_open:
        opened = [still_open.enter_context(Image.open(file)) for file in odd_files]
        sizes = [image.size for image in opened]
        assert np.array_equal(model.embed(opened), rows)
        assert [image.size for image in opened] == sizes
        decoded = [image.copy() for image in opened]  # copying decodes a large file at full size
    assert np.array_equal(model.embed([Image.open(io.BytesIO(file.read_bytes())) for file in odd_files]), rows)
    close = np.abs(model.embed(decoded) - rows).max(axis=1)
    assert close[:-1].max() < 1e-4
    assert close[-1] < 0.05


def test_arrays_and_tensors_are_read_as_pixels(run: Path, files: list[Path]) -> None:
    model = crossbatch.load(run)
    rows = model.embed(files)
    arrays = [np.asarray(Image.open(file)) for file in files]
    tensors = [torch.from_numpy(one.copy()).permute(2, 0, 1) for one in arrays]
    real = [one.float() / 255 for one in tensors]
    for given_images in (arrays, np.stack(arrays), tensors, torch.stack(real), [one / 255 for one in arrays]):
        assert np.array_equal(model.embed(given_images), rows)
    grey = model.embed([np.full((20, 30), 7, np.uint8), torch.full((1, 20, 30), 7, dtype=torch.uint8)])
    assert np.array_equal(grey[0], grey[1])
    nearest = model.embed([np.full((16, 16, 3), 7.6 / 255), np.full((16, 16, 3), 8, np.uint8)])
    assert np.array_equal(nearest[0], nearest[1])


def test_transparency_shows_the_background_of_the_model(run: Path) -> None:
    model = crossbatch.load(run)
    clear, plain = Image.new("RGBA", (20, 20), (9, 9, 9, 0)), Image.new("RGB", (20, 20), PREPROCESSING.background)
    rows = model.embed([clear, plain])
    assert np.array_equal(rows[0], rows[1])
    assert torch.equal(model.preprocess(clear), model.preprocess(plain))
    assert model.preprocess(clear).shape == (3, 16, 16)


@pytest.mark.parametrize(
    ("image", "reason"),
    [
        (np.zeros((4, 4, 3), np.int64), r"place 1 .*levels are int64: give uint8, or real numbers from 0 to 1"),
        (torch.full((3, 4, 4), -1.5), r"place 1 .*real numbers beyond 0 to 1: give them before normalisation"),
        (torch.full((3, 4, 4), torch.nan), r"beyond 0 to 1"),
        (np.zeros((4, 4, 5), np.uint8), r"its shape is \[4, 4, 5\]: paths, PIL images"),
        ({"image": 1}, r"it is of type dict: paths, PIL images"),
        ("nowhere.jpg", r"cannot read the image nowhere.jpg \(No such file or directory\); leave it out"),
    ],
    ids=["whole numbers", "normalised", "NaN", "five channels", "a dictionary", "no file"],
)
@pytest.mark.usefixtures("as_users_run_it")
def test_what_is_no_image_is_refused_by_place_or_name(run: Path, files: list[Path], image: object, reason: str) -> None:
    model = crossbatch.load(run)
    with pytest.raises(DataError, match=reason):
        model.embed([files[0], image])
    rows, gaps = model.embed_readable([files[0], image, files[1]])
    assert list(gaps) == [1]
    assert np.isnan(rows[1]).all()
    np.testing.assert_allclose(rows[[0, 2]], model.embed(files[:2]), atol=1e-6)


def test_one_path_is_no_list(run: Path) -> None:
    with pytest.raises(SettingError, match=r"embed takes a list of images"):
        crossbatch.load(run).embed("a.jpg")
    for one in (np.zeros((8, 9, 3), np.uint8), torch.zeros(3, 8, 9), np.zeros((8, 9))):
        with pytest.raises(SettingError, match=r"embed takes a list of images, got one: embed\(\[(ndarray|Tensor)\]"):
            crossbatch.load(run).embed(one)
    assert crossbatch.load(run).embed(torch.zeros(2, 3, 8, 9), batch_size=np.int64(1)).shape == (2, 8)
    assert crossbatch.load(run).embed(np.zeros((5, 8, 9), np.uint8)).shape == (5, 8)  # grey images
    for size in (0, 1.5, "8"):
        with pytest.raises(SettingError, match=r"batch_size is a number of images, at least 1, got"):
            crossbatch.load(run).embed([], batch_size=size)


def test_paths_may_come_as_an_array(run: Path, files: list[Path]) -> None:
    model = crossbatch.load(run)
    for paths in (np.array([str(file) for file in files]), np.array(files, dtype=object)):
        assert np.array_equal(model.embed(paths), model.embed(files))


def test_a_model_is_named_by_a_path() -> None:
    for name in (None, b"runs/a", ""):
        with pytest.raises(RunError, match=r"a model is named by a path or hf://owner/name, got"):
            crossbatch.load(name)


def test_a_model_that_has_diverged_says_so(run: Path, files: list[Path]) -> None:
    model = crossbatch.load(run)
    torch.nn.init.constant_(next(model.network.parameters()), torch.nan)
    for embed in (model.embed, model.embed_readable):
        with pytest.raises(DivergedError, match=r"gives embeddings that are not finite: it has diverged"):
            embed(files)


def test_one_image_is_prepared_the_way_up_that_it_was_taken(run: Path, files: list[Path], tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.open(files[0]).convert("RGB").resize((40, 24)).save(tmp_path / "turned.png", exif=exif)
    model = crossbatch.load(run)
    with Image.open(tmp_path / "turned.png") as image, torch.no_grad():
        row = model.network(model.preprocess(image)[None]).numpy()
    np.testing.assert_allclose(row, model.embed([tmp_path / "turned.png"]), atol=1e-5)


def test_half_precision_gives_nearly_the_same_rows_of_the_same_model(run: Path, files: list[Path]) -> None:
    full, half = crossbatch.load(run), crossbatch.load(run, half=True)
    rows = half.embed(files)
    assert rows.dtype == np.float32
    assert 0 < np.abs(rows - full.embed(files)).max() < 0.02
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-6)
    assert half.fingerprint == full.fingerprint


def test_a_fingerprint_is_of_weights_and_preparation(tmp_path: Path, run: Path) -> None:
    same = write_run(tmp_path / "same", class_names=["other"])
    weights = write_run(tmp_path / "weights", seed=1)
    prepared = write_run(tmp_path / "prepared", preprocessing=PREPROCESSING.__dict__ | {"background": "white"})
    prints = [crossbatch.load(folder).fingerprint for folder in (run, same, weights, prepared)]
    assert prints[0] == prints[1]
    assert len(set(prints)) == 3
    assert all(len(one) == 16 for one in prints)


def test_the_model_alone_loads_anywhere(tmp_path: Path, run: Path, files: list[Path]) -> None:
    moved = tmp_path / "moved"
    moved.mkdir()
    for name in ("model.safetensors", "model.json"):
        shutil.copy(run / name, moved)
    assert np.array_equal(crossbatch.load(moved).embed(files[:3]), crossbatch.load(run).embed(files[:3]))
    (moved / "model.safetensors").unlink()
    with pytest.raises(RunError, match=r"holds no trained model \(model.safetensors is missing\)"):
        crossbatch.load(moved)
    with pytest.raises(RunError, match=r"there is no model at .*nowhere: give a run folder, .* or hf://owner/name"):
        crossbatch.load(tmp_path / "nowhere")


def test_a_device_that_is_not_there_is_named(run: Path) -> None:
    with pytest.raises(SettingError, match=r"the device nonsense cannot be used .* leave it out"):
        crossbatch.load(run, device="nonsense")


@pytest.mark.parametrize(
    "change",
    [
        {"dim": 10**9},
        {"dim": "8"},
        {"backbone": ["small"]},
        {"backbone": "hf-hub:somebody/model"},
        {"backbone": "os.system"},
        {"channels": 2},
        {"pooling": 3},
        {"preprocessing": {"size": 16}},
        {"preprocessing": PREPROCESSING.__dict__ | {"size": 10**6}},
        {"preprocessing": PREPROCESSING.__dict__ | {"size": [4, 4, 4]}},
        {"preprocessing": PREPROCESSING.__dict__ | {"std": [0, 1, 1]}},
        {"preprocessing": PREPROCESSING.__dict__ | {"background": "no colour"}},
        {"preprocessing": PREPROCESSING.__dict__ | {"fit": "stretch"}},
        {"class_path": "os.system"},
    ],
    ids=str,
)
def test_a_description_that_describes_no_model_is_one_sentence(run: Path, change: dict[str, object]) -> None:
    plain = json.loads((run / "model.json").read_text())
    (run / "model.json").write_text(json.dumps(plain | change))
    with pytest.raises(CrossBatchError, match=r"model|backbone"):
        crossbatch.load(run)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.floats(0, 1), values=st.binary(min_size=1, max_size=12), cut=st.booleans(), name=st.booleans())
def test_a_damaged_model_is_one_sentence(
    tmp_path: Path, place: float, values: bytes, cut: bool, name: bool, pristine: dict[str, bytes]
) -> None:
    """Bytes are changed anywhere, or the end is missing. The model loads, or the error is one sentence."""
    folder = tmp_path / "damaged"
    folder.mkdir(exist_ok=True)
    chosen = "model.json" if name else "model.safetensors"
    for file, content in pristine.items():
        start = int(place * (len(content) - 1))
        spoilt = content[:start] + (b"" if cut else values + content[start + len(values) :])
        (folder / file).write_bytes(spoilt if file == chosen else content)
    told = ""
    try:
        assert isinstance(crossbatch.load(folder).network, Embedder)
    except CrossBatchError as error:
        told = str(error)
    assert "\n" not in told


@pytest.fixture(scope="session")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder = write_run(tmp_path_factory.mktemp("pristine") / "run")
    return {name: (folder / name).read_bytes() for name in (checkpoint.DESCRIPTION, checkpoint.WEIGHTS)}


def test_a_run_that_has_not_ended_is_told_to_go_on(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("seed: 0\n")
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "start.safetensors").touch()
    with pytest.raises(RunError, match=r"has not come to its end, .*: crossbatch train --resume"):
        crossbatch.load(tmp_path)

"""Tests that a saved model loads as the same model, and that an incomplete one is refused in one sentence."""

import json
from pathlib import Path

import pytest
import torch

from crossbatch.errors import RunError
from crossbatch.models.checkpoint import DESCRIPTION, WEIGHTS, Description, load, load_weights, save
from crossbatch.models.embedder import build

PREPROCESSING = {"size": 32, "resize": 36, "channels": 1, "mean": [0.5], "std": [0.25]}


def describe(backbone: str = "small", dim: int = 8, channels: int = 1, pooling: str | None = None) -> Description:
    return Description(backbone, dim, channels, PREPROCESSING, ["U+00E9 é", "cat"], pooling)


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    save(tmp_path, build("small", 8, 1), describe())
    return tmp_path


@pytest.mark.parametrize(
    ("backbone", "pooling"),
    [("small", None), ("small", "gem"), ("mobilenetv3_small_050", None), ("test_resnet", "max")],
)
def test_a_saved_model_gives_the_same_embeddings(backbone: str, pooling: str | None, tmp_path: Path) -> None:
    """This includes running statistics and the power of the pooling."""
    model, images = build(backbone, 8, 1, pooling=pooling), torch.randn(4, 1, 32, 32)
    for parameter in model.pooling.parameters():
        parameter.data += 1
    for _ in range(3):
        model(images * 2 + 1)
    save(tmp_path, model, describe(backbone, pooling=pooling))
    loaded, description = load(tmp_path)
    assert torch.equal(loaded(images), model.eval()(images))
    assert not torch.equal(build(backbone, 8, 1).eval()(images), model(images))
    assert not loaded.training
    assert description == describe(backbone, pooling=pooling)


def test_a_model_of_before_there_was_a_choice_of_pooling_loads(saved: Path) -> None:
    fields = json.loads((saved / DESCRIPTION).read_text(encoding="utf-8"))
    assert fields.pop("pooling") is None
    (saved / DESCRIPTION).write_text(json.dumps(fields), encoding="utf-8")
    assert load(saved)[1] == describe()


def test_the_description_is_text_a_person_can_read(saved: Path) -> None:
    text = (saved / DESCRIPTION).read_text(encoding="utf-8")
    assert "U+00E9 é" in text
    assert json.loads(text)["preprocessing"] == PREPROCESSING


def test_saving_again_replaces_the_model_and_leaves_two_files(saved: Path) -> None:
    model = build("small", 16, 1)
    save(saved, model, describe(dim=16))
    assert sorted(path.name for path in saved.iterdir()) == [DESCRIPTION, WEIGHTS]
    loaded, description = load(saved)
    assert description.dim == 16
    assert torch.equal(loaded.head.weight, model.head.weight)


def test_a_model_that_is_not_there_is_refused(saved: Path) -> None:
    (saved / WEIGHTS).unlink()
    with pytest.raises(RunError, match=r"holds no trained model \(model.safetensors is missing\)$"):
        load(saved)
    (saved / DESCRIPTION).unlink()
    with pytest.raises(RunError, match=r"holds no trained model \(model.json is missing\)$"):
        load(saved)
    with pytest.raises(RunError, match=r"gone holds no trained model \(model.json is missing\)$"):
        load(saved / "gone")


@pytest.mark.parametrize("name", [WEIGHTS, DESCRIPTION])
@pytest.mark.parametrize("share", [0, 0.01, 0.5, 0.99])
def test_half_a_file_is_refused_in_one_sentence(saved: Path, name: str, share: float) -> None:
    content = (saved / name).read_bytes()
    (saved / name).write_bytes(content[: int(share * len(content))])
    with pytest.raises(
        RunError, match=r"^the model in .* cannot be read \(.+\): train it again, or copy it whole$"
    ) as e:
        load(saved)
    assert "\n" not in str(e.value)
    assert len(str(e.value)) < 300


@pytest.mark.parametrize("text", ["[]", "3", '{"backbone": "small"}', '{"colour": "red"}', "\x00", "é"])
@pytest.mark.usefixtures("as_users_run_it")
def test_another_description_is_refused(saved: Path, text: str) -> None:
    (saved / DESCRIPTION).write_bytes(text.encode("latin-1"))
    with pytest.raises(RunError, match=r"cannot be read \(.+\): train it again, or copy it whole$"):
        load(saved)


@pytest.mark.parametrize(
    ("other", "reason"),
    [
        ({"dim": 16}, "size mismatch for head"),
        ({"channels": 3}, "size mismatch for backbone"),
        ({"backbone": "mobilenetv3_small_050"}, "size mismatch for head"),
        ({"pooling": "gem"}, "Missing key.*pooling.power"),
    ],
)
def test_weights_of_another_model_are_refused(saved: Path, other: dict, reason: str) -> None:
    fields = json.loads((saved / DESCRIPTION).read_text(encoding="utf-8")) | other
    (saved / DESCRIPTION).write_text(json.dumps(fields), encoding="utf-8")
    with pytest.raises(RunError, match=f"^the weights of .* do not fit this model: {reason}") as error:
        load(saved)
    assert "\n" not in str(error.value)


def test_weights_of_other_names_are_refused_in_short(tmp_path: Path) -> None:
    """Hundreds of names do not fit into a sentence."""
    source = tmp_path / "weights.safetensors"
    with pytest.raises(RunError, match=r"weights.safetensors do not fit this model: Missing key") as error:
        load_weights(build("mobilenetv3_small_050", 8, 1), {}, source)
    assert len(str(error.value)) < len(str(source)) + 250
    whole = build("small", 8, 1).state_dict()
    with pytest.raises(RunError, match=r"Unexpected key.*more.weight"):
        load_weights(build("small", 8, 1), whole | {"more.weight": torch.ones(1)}, source)

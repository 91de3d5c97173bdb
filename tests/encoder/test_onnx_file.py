"""Tests that the exported graph gives torch's rows for any batch size."""

import pickle
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnx
import pytest
import torch

import crossbatch
from crossbatch.data.transforms import Preprocessing
from crossbatch.encoder import onnx_file
from crossbatch.errors import RunError, SettingError
from crossbatch.models.checkpoint import Description
from crossbatch.models.embedder import build

# torch's exporter warns about its own code.
pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]


def test_a_file_embeds_as_the_run_does(tmp_path: Path, run: Path, odd_files: list[Path], pictures: Path) -> None:
    model = crossbatch.load(run)
    assert model.save_onnx(tmp_path / "model.onnx") < 1e-5
    graph = crossbatch.load(tmp_path / "model.onnx")
    assert (graph.dim, graph.fingerprint, graph.description) == (8, model.fingerprint, model.description)
    files = [*odd_files, *sorted(pictures.rglob("*.png"))]
    rows = graph.embed(files)
    np.testing.assert_allclose(rows, model.embed(files), atol=1e-5)
    order = np.random.default_rng(0).permutation(len(files))
    np.testing.assert_allclose(graph.embed([files[one] for one in order], batch_size=17), rows[order], atol=1e-5)
    again = pickle.loads(pickle.dumps(graph))  # as a loader process gets it
    np.testing.assert_array_equal(again.embed(files), rows)
    with pytest.raises(RunError, match="holds a graph and no weights: load the run"):
        graph.save_pretrained(tmp_path / "saved")
    with pytest.raises(SettingError, match="in the precision that it was exported in"):
        crossbatch.load(tmp_path / "model.onnx", half=True)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["model.onnx", "run"]


def test_a_graph_that_differs_is_not_written(tmp_path: Path, run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    value = onnx.helper.make_tensor_value_info("images", onnx.TensorProto.UINT8, ["batch", 16, 16, 3])
    empty = onnx.helper.make_graph([onnx.helper.make_node("Identity", ["images"], ["out"])], "plain", [value], [])
    empty.output.append(onnx.helper.make_tensor_value_info("out", onnx.TensorProto.UINT8, ["batch", 16, 16, 3]))
    monkeypatch.setattr(onnx_file, "graph_of", lambda *_: onnx.helper.make_model(empty, ir_version=10))
    monkeypatch.setattr(onnx_file, "parity", lambda *_: float("nan"))
    with pytest.raises(RunError, match=r"gives rows nan from those of torch, more than 1e-04: nothing is written"):
        crossbatch.load(run).save_onnx(tmp_path / "model.onnx")
    assert [file.name for file in tmp_path.iterdir()] == ["run"]


def test_parity_sees_another_mean(run: Path) -> None:
    """The comparison can fail: a graph with another preprocessing is far away."""
    model = crossbatch.load(run)
    other = Preprocessing.restore(model.description.preprocessing | {"mean": [0.1, 0.1, 0.1]})
    right, wrong = (onnx_file.FromPixels(model.network, one).eval() for one in (model.preprocess, other))

    def graph(images: torch.Tensor) -> torch.Tensor:
        return wrong(images.permute(0, 2, 3, 1))

    assert onnx_file.parity(graph, right, (16, 16, 3)) > 0.01


@pytest.mark.parametrize("sign", [1, -1])
def test_parity_is_the_greatest_difference_either_way(sign: int) -> None:
    def graph(images: torch.Tensor) -> torch.Tensor:
        return sign * 0.25 * torch.ones(len(images), 2)

    assert onnx_file.parity(graph, lambda images: torch.zeros(len(images), 2), (4, 4, 3)) == 0.25


def test_what_is_no_export_of_ours_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"there is no file .*: write one with crossbatch export"):
        crossbatch.load(tmp_path / "gone.onnx")
    (tmp_path / "text.onnx").write_text("no graph")
    with pytest.raises(RunError, match="is no graph that onnxruntime can run"):
        crossbatch.load(tmp_path / "text.onnx")
    value = onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1])
    other = onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [1])
    node = onnx.helper.make_node("Identity", ["x"], ["y"])
    plain = onnx.helper.make_model(onnx.helper.make_graph([node], "plain", [value], [other]), ir_version=10)
    onnx.save(plain, tmp_path / "plain.onnx")
    with pytest.raises(RunError, match=r"was not written by crossbatch export: its metadata have no crossbatch"):
        crossbatch.load(tmp_path / "plain.onnx")


@pytest.mark.long
@pytest.mark.parametrize(
    ("backbone", "pooling"),
    [
        *[("small", pooling) for pooling in ("avg", "max", "gem", "grid")],
        ("googlenet", "avg"),
        *[("tf_efficientnet_lite0", pooling) for pooling in (None, "max", "gem")],
        ("resnet50", "gem"),
        ("vit_tiny_patch16_224", None),
    ],
)
def test_every_kind_of_network_is_exported(tmp_path: Path, backbone: str, pooling: str | None) -> None:
    size = 224 if "vit" in backbone else 64
    preparation = Preprocessing(size, size, 3, (0.5,) * 3, (0.5,) * 3)
    model = build(backbone, 32, 3, pooling=pooling).eval()
    described = Description(backbone, 32, 3, preparation.__dict__, [], pooling)
    assert onnx_file.write(tmp_path / "model.onnx", model, described, "0" * 16) <= 1e-4


@pytest.mark.parametrize(("device", "number"), [("cuda:1", "1"), ("cuda", "0"), (None, "0")])
def test_a_graph_computes_on_the_gpu_that_is_named(
    device: str | None, number: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Runtime:
        """A stand-in for onnxruntime on a machine with GPUs. It checks what it is asked for and opens nothing."""

        def get_available_providers(self) -> list[str]:
            return ["CUDAExecutionProvider", "CPUExecutionProvider"]

        SessionOptions = SimpleNamespace

        def InferenceSession(self, _: str, __: SimpleNamespace, providers: list[tuple[str, dict[str, str]]]) -> None:
            assert providers == [("CUDAExecutionProvider", {"device_id": number}), ("CPUExecutionProvider", {})]
            raise RuntimeError("asked as expected")

    (tmp_path / "model.onnx").touch()
    monkeypatch.setattr(onnx_file, "_onnxruntime", Runtime)
    with pytest.raises(RunError, match="asked as expected"):
        onnx_file.OnnxNetwork(tmp_path / "model.onnx", device)

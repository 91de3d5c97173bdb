"""A trained network as one ONNX file: writing it, and embedding with it in onnxruntime.

The graph takes decoded pixels of the model's size, uint8 [batch, height, width, channels], and gives unit rows float32
[batch, dim]. The graph includes the arithmetic on levels, mean and deviation, and the order of axes, since errors in
these go unnoticed. It does not decode an image, turn it upright or scale it: ONNX has no operator that decodes JPEG,
and a batch has images of many sizes. The metadata tell how to do that: `crossbatch` holds the description, and
`fingerprint` the fingerprint of the model.
"""

import json
from copy import deepcopy
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from crossbatch import durable
from crossbatch.data.transforms import Preprocessing
from crossbatch.encoder.rows import Network
from crossbatch.errors import DivergedError, MissingExtraError, RunError, SettingError
from crossbatch.models.checkpoint import Description, description_of

INPUT, OUTPUT = "images", "embeddings"
NAMES = ("crossbatch", "fingerprint")  # of the metadata
CLOSE = 1e-4  # largest difference from torch's rows
BATCHES = (1, 2, 3, 17)  # sizes of batches that are compared
OPSET = 20


class OnnxNetwork:
    """An ONNX graph that is called like a network: uint8 [batch, channels, height, width] → rows [batch, dim]."""

    def __init__(self, path: Path, device: str | None = None) -> None:
        runtime = _onnxruntime()
        if not path.is_file():
            raise RunError(f"there is no file {path}: write one with crossbatch export RUN --format onnx")
        available = runtime.get_available_providers()
        wanted = "CUDAExecutionProvider" if (device or "cuda").startswith("cuda") else "CPUExecutionProvider"
        if device and (wanted not in available or not device.startswith(("cuda", "cpu"))):
            raise SettingError(f"onnxruntime cannot compute on {device} here: leave the device out, or name cpu")
        try:
            providers = dict.fromkeys(one for one in (wanted, "CPUExecutionProvider") if one in available)
            gpu = {"device_id": (device or "").partition(":")[2] or "0"}
            chosen = [(name, gpu if name.startswith("CUDA") else {}) for name in providers]
            options = runtime.SessionOptions()
            options.intra_op_num_threads = torch.get_num_threads()  # the service leaves a core to other threads
            self.session = runtime.InferenceSession(str(path), options, providers=chosen)
        except Exception as error:  # onnxruntime raises a type of its own for each status
            reason = " ".join(str(error).split())[:160]
            raise RunError(f"{path} is no graph that onnxruntime can run ({reason}): export it anew") from error
        metadata = self.session.get_modelmeta().custom_metadata_map
        if not metadata.keys() >= set(NAMES):
            raise RunError(f"{path} was not written by crossbatch export: its metadata have no {' or '.join(NAMES)}")
        self._made_from = (path, device)
        self.description: Description = description_of(metadata["crossbatch"], path)
        self.fingerprint: str = metadata["fingerprint"]

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the path: a process that takes the encoder opens the file itself."""
        return OnnxNetwork, self._made_from

    def __call__(self, images: Tensor) -> Tensor:
        """Embed a batch of pixels."""
        pixels = np.ascontiguousarray(images.permute(0, 2, 3, 1).numpy())
        (rows,) = self.session.run([OUTPUT], {INPUT: pixels})
        return torch.from_numpy(rows)


class FromPixels(nn.Module):
    """A network that normalises pixels itself: uint8 [batch, height, width, channels] → rows [batch, dim]."""

    mean: Tensor
    std: Tensor

    def __init__(self, network: nn.Module, preprocessing: Preprocessing) -> None:
        super().__init__()
        self.network = network
        for name in ("mean", "std"):
            levels = 255 * torch.tensor(getattr(preprocessing, name)).view(-1, 1, 1)
            self.register_buffer(name, levels, persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """Embed a batch of pixels."""
        rows: Tensor = self.network((images.permute(0, 3, 1, 2).float() - self.mean) / self.std)
        return rows


def write(path: Path, network: nn.Module, description: Description, fingerprint: str) -> float:
    """Write the file as a whole; return the largest difference of its rows from torch's, and refuse more than 1e-4.

    Rows are compared on noise and smooth images, in batches of 1, 2, 3 and 17 images, and of the 17 in another order.
    """
    onnx = _onnx()
    if path.suffix != ".onnx" or path.is_dir():
        raise RunError(f"an ONNX file ends in .onnx and is no folder, got {path}")
    preprocessing = Preprocessing.restore(description.preprocessing)
    whole = FromPixels(deepcopy(network).cpu(), preprocessing).eval()
    shape = (*preprocessing.sides, description.channels)
    with torch.no_grad():
        if not whole(_pictures(2, shape)).isfinite().all():
            raise DivergedError("the network gives rows that are not finite: it has diverged, and nothing is written")
    graph = graph_of(whole, shape, description.backbone)
    for name, value in zip(NAMES, (json.dumps(asdict(description), ensure_ascii=False), fingerprint), strict=True):
        graph.metadata_props.add(key=name, value=value)
    path.parent.mkdir(parents=True, exist_ok=True)
    delta = [0.0]

    def compare() -> None:
        delta[0] = parity(OnnxNetwork(Path(file.name), "cpu"), whole, shape)
        if not delta[0] <= CLOSE:  # NaN too
            raise RunError(
                f"the exported graph gives rows {delta[0]:.1e} from those of torch, more than {CLOSE:.0e}: nothing is "
                f"written; {description.backbone} cannot be exported by torch {torch.__version__}"
            )

    with durable.whole(path, before_rename=compare) as file:
        onnx.save(graph, file)
    return delta[0]


def graph_of(network: FromPixels, shape: tuple[int, ...], name: str) -> Any:
    """The graph (onnx.ModelProto) of a network; `shape` is height, width, channels."""
    try:
        program = torch.onnx.export(
            network,
            (torch.zeros(2, *shape, dtype=torch.uint8),),  # the exporter would make a batch of 1 constant
            dynamo=True,
            opset_version=OPSET,
            input_names=[INPUT],
            output_names=[OUTPUT],
            dynamic_shapes={"images": {0: torch.export.Dim("batch")}},
            verbose=False,
        )
    except Exception as error:
        reason = " ".join(str(error).split())[:200]
        raise RunError(f"{name} cannot be exported ({reason})") from error
    assert program is not None  # noqa: S101
    return program.model_proto


@torch.no_grad()
def parity(graph: Network, network: Network, shape: tuple[int, ...]) -> float:
    """The largest difference of a coordinate between the rows of the two; `shape` is height, width, channels."""
    pictures = _pictures(max(BATCHES), shape)
    order = torch.randperm(len(pictures), generator=torch.Generator().manual_seed(1))
    batches = [pictures[:size] for size in BATCHES] + [pictures[order]]
    differences = [(graph(batch.permute(0, 3, 1, 2)) - network(batch)).abs().max() for batch in batches]
    return float(torch.stack(differences).max())


def _pictures(images: int, shape: tuple[int, ...]) -> Tensor:
    """Noise from coarse to fine, uint8 [images, height, width, channels]."""
    generator = torch.Generator().manual_seed(0)
    high, wide, channels = shape
    drawn = []
    for number in range(images):
        cells = min(2 ** (1 + number % 8), high, wide)
        noise = torch.rand(1, channels, cells, cells, generator=generator)
        drawn.append(nn.functional.interpolate(noise, (high, wide), mode="bilinear")[0].permute(1, 2, 0))
    return (255 * torch.stack(drawn)).round().to(torch.uint8)


def _onnx() -> Any:
    try:
        import onnx  # noqa: PLC0415
        import onnxscript  # noqa: F401, PLC0415  (torch's exporter needs it)
    except ModuleNotFoundError as error:
        raise MissingExtraError("export to ONNX", str(error.name), "onnx") from None
    return onnx


def _onnxruntime() -> Any:
    try:
        import onnxruntime  # noqa: PLC0415
    except ImportError:  # missing, or not made for this machine
        raise MissingExtraError("an ONNX file", "onnxruntime", "onnx") from None
    return onnxruntime

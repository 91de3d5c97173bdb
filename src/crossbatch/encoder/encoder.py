"""The encoder: a trained network with the preparation of its images."""

import hashlib
import json
import os
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import asdict
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from crossbatch import runs
from crossbatch.data.batches import OnCorrupt, PartBatches, Reader
from crossbatch.data.data_set import Images, Part
from crossbatch.data.given_images import MODES, Given, GivenImages
from crossbatch.data.transforms import Evenly, Pixels, Preprocessing
from crossbatch.encoder import hub, onnx_file, pretrained_folder
from crossbatch.encoder.folded import folded
from crossbatch.encoder.rows import Embedded, Network, all_of, batches_of_rows, evaluating
from crossbatch.errors import CrossBatchError, DivergedError, RunError, SettingError
from crossbatch.models import checkpoint
from crossbatch.models.checkpoint import Description
from crossbatch.precision import without_autocast
from crossbatch.progress import watched
from crossbatch.typed import typed

Rows = NDArray[np.float32]
FOLDING = threading.Lock()  # folding puts hooks into the network while it embeds, so one thread at a time
BATCH = 64  # images; on a CPU a quarter faster than 256. Evaluation takes as many, so its rows are equal to the bit


class Encoder:
    """Embed images with a trained network, and with its preparation of images; `crossbatch.load` returns one.

    Attributes:
        network: The network, which may be trained further; images are embedded in evaluation mode.
        description: Network, dimension, preparation of the images, names of the training classes.
        preprocess: Callable that prepares one PIL image: float [channels, height, width].
        source: Where it was loaded from.
    """

    def __init__(
        self, network: Network, description: Description, source: Path, device: str | None, half: bool
    ) -> None:
        self.network, self.description, self.source, self.half = network, description, source, half
        self.preprocess = Preprocessing.restore(description.preprocessing)
        if isinstance(network, torch.nn.Module):
            self.device, self._evenly = _device(device), Evenly(self.preprocess)
            network.to(self.device).eval()
        else:  # an ONNX graph, which has its own device and normalises itself
            self.device, self._evenly = torch.device("cpu"), Pixels(self.preprocess)
        self._folded: tuple[list[tuple[int, int]], Network] | None = None  # state of the weights, folded copy

    @property
    def dim(self) -> int:
        """Number of coordinates of an embedding."""
        return self.description.dim

    @property
    def fingerprint(self) -> str:
        """Hash of weights, network and preparation; rows can be compared if it is equal. 16 hexadecimal digits."""
        if isinstance(self.network, onnx_file.OnnxNetwork):
            return self.network.fingerprint
        return _fingerprint(self._torch_network().state_dict(), self.description)

    def embed(self, images: Iterable[Given], *, batch_size: int = BATCH) -> Rows:
        """Embed images: float32 [images, dim], each row of length 1.

        Args:
            images: Paths, PIL images, arrays [height, width, 1, 3 or 4] or [height, width], tensors [1, 3 or 4, height,
                width]. Levels are uint8, or real numbers from 0 to 1, not normalised. Files of any size and mode that
                training reads; EXIF orientation and transparency are taken care of. A generator is first read
                to its end.
            batch_size: Images at a time, for the network's memory.

        Raises:
            DataError: An image cannot be read; the message names it and says why.
            DivergedError: The model gives embeddings that are not finite.

        Examples:
            >>> model = crossbatch.load("runs/photos")
            >>> rows = model.embed(["a.jpg", "b.jpg"])
            >>> similarity = rows[0] @ rows[1]
        """
        return self._embed(_listed(images), batch_size, "refuse")[0]

    def embed_readable(self, images: Iterable[Given], *, batch_size: int = BATCH) -> tuple[Rows, dict[int, str]]:
        """Embed images; those that cannot be read get rows of NaN. The dictionary has their reasons by position."""
        return self._embed(_listed(images), batch_size, "skip")

    def embed_part(self, images: Images, part: Part, on_corrupt: OnCorrupt = "refuse") -> Embedded:
        """Embed a part of a data set: embeddings float32 [images, dim], labels and ids, without skipped images."""
        batches = PartBatches(Reader(images, on_corrupt), part, self._evenly, BATCH)
        return all_of(self._stream(batches))

    def save_onnx(self, path: str | os.PathLike[str]) -> float:
        """Write one ONNX file; return the largest difference of its rows from the network's, which is at most 1e-4.

        Raises:
            RunError: The network cannot be exported, or the rows differ by more. Nothing is written then.
        """
        network = self._torch_network()
        return onnx_file.write(Path(path), network, self.description, self.fingerprint)

    def save_pretrained(self, folder: str | os.PathLike[str]) -> Path:
        """Write model.safetensors, config.json and a model card, README.md, in the layout of model hubs.

        Raises:
            RunError: The folder holds other files or another model, or this one was loaded from an ONNX file.
        """
        network, place = self._torch_network(), Path(folder)
        if any((place / name).is_file() for name in (checkpoint.CONFIG, checkpoint.WEIGHTS)) and not self._is_in(place):
            raise RunError(f"{place} holds another model: name another folder, or remove it")
        return pretrained_folder.write(place, network, self.description, self.source)

    @classmethod
    def from_pretrained(cls, name: str | os.PathLike[str], **options: Any) -> "Encoder":
        """The same as `crossbatch.load`."""
        return load(name, **options)

    def __repr__(self) -> str:
        high, wide = self.preprocess.sides
        return (
            f"Encoder({str(self.source)!r}: {self.description.backbone}, {wide}×{high} pixels → {self.dim} dimensions)"
        )

    def _is_in(self, folder: Path) -> bool:
        try:
            return load(folder, device="cpu").fingerprint == self.fingerprint
        except CrossBatchError:
            return False

    def _torch_network(self) -> torch.nn.Module:
        if not isinstance(self.network, torch.nn.Module):
            raise RunError(f"{self.source} holds a graph and no weights: load the run it was exported from")
        return self.network

    def _embed(self, images: Sequence[Given], batch_size: int, on_corrupt: OnCorrupt) -> tuple[Rows, dict[int, str]]:
        if not hasattr(batch_size, "__index__") or batch_size < 1:
            raise SettingError(f"batch_size is a number of images, at least 1, got {batch_size!r}")
        rows = np.full((len(images), self.dim), np.nan, dtype=np.float32)
        way_out = "leave it out, or take embed_readable"
        reader = Reader(GivenImages(images), on_corrupt, tell=lambda _: None, way_out=way_out)
        places = torch.arange(len(images))
        batches = PartBatches(reader, Part(torch.zeros_like(places), places), self._evenly, batch_size)
        for embeddings, _, ids in self._stream(batches):
            if not embeddings.isfinite().all():
                raise DivergedError(
                    f"the model at {self.source} gives embeddings that are not finite: "
                    + ("embed without half" if self.half else "it has diverged; train it again, with a lower rate")
                )
            if len(ids):
                rows[ids.numpy()] = embeddings.numpy()
        return rows, dict(reader.corrupt)

    def _stream(self, batches: PartBatches) -> Iterator[Embedded]:
        numbers = watched(range(len(batches)), "embedding, in batches")
        if isinstance(self.network, torch.nn.Module) and self.network.training:
            self._folded = None  # training may write to `.data`, which `_version` does not count
        with evaluating(self.network) if isinstance(self.network, torch.nn.Module) else nullcontext():
            yield from batches_of_rows(partial(self._rows, self._fast_network()), batches, self.device, numbers)

    def _rows(self, network: Network, images: Tensor) -> Tensor:
        """The rows of images, computed under autocast if `half` is set, and only then."""
        if not self.half:
            with without_autocast(self.device):
                return network(images)
        with torch.autocast(self.device.type, torch.float16 if self.device.type == "cuda" else torch.bfloat16):
            rows = network(images)
        return torch.nn.functional.normalize(rows.float())

    def _fast_network(self) -> Network:
        """On a CPU, a copy that gives rows within 1e-5 in less than half of the time; elsewhere the network itself."""
        if not isinstance(self.network, torch.nn.Module) or self.device.type != "cpu":
            return self.network
        with FOLDING:
            if self._folded is None or self._folded[0] != _written(self.network):  # not folded yet, or trained since
                copy = self._fold(self.network)
                self._folded = _written(self.network), copy  # read again: folding moves the weights
            return self._folded[1]

    def _fold(self, network: torch.nn.Module) -> Network:
        with torch.inference_mode(False), torch.no_grad():  # weights made in inference mode cannot be trained
            network = network.to(memory_format=torch.channels_last)
            generator = torch.Generator().manual_seed(0)
            images = torch.randn(1, self.preprocess.channels, *self.preprocess.sides, generator=generator)
            return folded(network, images.contiguous(memory_format=torch.channels_last))


def load(
    name: str | os.PathLike[str], *, device: str | None = None, half: bool = False, weights: str = checkpoint.WEIGHTS
) -> Encoder:
    """Load a trained model, to embed images with.

    Args:
        name: A run folder, a folder of `save_pretrained`, or an ONNX file; `hf://owner/name` is fetched from Hugging
            Face's hub. Nothing else uses a network.
        device: As torch names it, such as cuda:1; by default the GPU where there is one.
        weights: Other weights of a run than its best, such as those before training.
        half: Compute in half precision: float16 on a GPU, bfloat16 elsewhere. Rows are float32 all the same.

    Raises:
        RunError: There is no trained model, or one that cannot be read.
        SettingError: The device is not there.

    No code in the files is run: weights are read by safetensors, the rest is JSON.

    Examples:
        >>> model = crossbatch.load("runs/photos")
        >>> model.embed(["a.jpg"]).shape
        (1, 128)
    """
    if not isinstance(name, str | os.PathLike) or not os.fspath(name):
        raise RunError(f"a model is named by a path or {hub.SCHEME}owner/name, got {name!r}")
    path = hub.fetched(os.fspath(name)) if hub.named(os.fspath(name)) else Path(name)
    if path.suffix == ".onnx":
        if half:
            raise SettingError(f"{path} computes in the precision that it was exported in: leave half out")
        network = onnx_file.OnnxNetwork(path, None if device is None else str(device))
        return Encoder(network, network.description, path, device, half)
    if not path.is_dir():
        raise RunError(
            f"there is no model at {path}: give a run folder, a folder that save_pretrained wrote, a file of "
            f"crossbatch export, or {hub.SCHEME}owner/name"
        )
    runs.refuse_several(path)
    if runs.is_begun(path) and not (path / checkpoint.DESCRIPTION).is_file():
        way_out = f"crossbatch train --resume {typed(path)} goes on with it"
        raise RunError(f"{path} has not come to its end, so it holds no trained model: {way_out}")
    with torch.inference_mode(False):  # tensors made in it cannot be trained and have no `_version`
        model, description = checkpoint.load(path, weights)
    return Encoder(model, description, path, device, half)


def _written(network: torch.nn.Module) -> list[tuple[int, int]]:
    """The address and version of each tensor of a network; they show whether weights were moved or written."""
    # Not `parameters()` and `buffers()`: these also name every tensor, and take twice as long.
    tensors = ((*module._parameters.values(), *module._buffers.values()) for module in network.modules())
    return [(tensor.data_ptr(), tensor._version) for tensor in chain(*tensors) if tensor is not None]


def _device(name: str | None) -> torch.device:
    try:
        device = torch.device(name or ("cuda" if torch.cuda.is_available() else "cpu"))
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).split("\n")[0]
        raise SettingError(f"the device {name} cannot be used ({reason}): leave it out, or name one as cpu") from error
    return device


def _listed(images: Iterable[Given]) -> Sequence[Given]:
    if _is_one(images) or isinstance(images, str | os.PathLike) or not isinstance(images, Iterable):
        raise SettingError(f"embed takes a list of images, got one: embed([{type(images).__name__}])")
    return images if isinstance(images, Sequence) else list(images)


def _is_one(images: Any) -> bool:
    """Tell whether an array or tensor is one image, whose lines or channels would be taken for images."""
    if isinstance(images, Tensor):
        return images.ndim == 2 or (images.ndim == 3 and images.shape[0] in MODES)
    pixels = isinstance(images, np.ndarray) and images.dtype.kind in "buif"
    return pixels and (images.ndim == 2 or (images.ndim == 3 and images.shape[2] in MODES))


def _fingerprint(weights: dict[str, Tensor], description: Description) -> str:
    digest = hashlib.sha256()
    fields = {name: value for name, value in asdict(description).items() if name not in ("class_names", "format")}
    digest.update(json.dumps(fields, sort_keys=True).encode())
    for name in sorted(weights):
        digest.update(name.encode())
        digest.update(weights[name].detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:16]

"""Names for the tensor types of this package, which tests check at run time, and checks of embeddings and labels."""

from typing import Any, overload

import numpy as np
import torch
from jaxtyping import Bool, Float, Int64
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import normalize

from crossbatch.errors import DivergedError, ShapeError

Images = Float[Tensor, "batch channels height width"]
Maps = Float[Tensor, "batch features rows columns"]
Features = Float[Tensor, "batch features"]

Embeddings = Float[Tensor, "batch dim"]
Labels = Int64[Tensor, " batch"]
Ids = Int64[Tensor, " batch"]
Slots = Int64[Tensor, " batch"]

References = Float[Tensor, "refs dim"]
RefLabels = Int64[Tensor, " refs"]
RefIds = Int64[Tensor, " refs"]
RefMask = Bool[Tensor, " refs"]

Similarities = Float[Tensor, "batch columns"]
PairMask = Bool[Tensor, "batch columns"]
Columns = Int64[Tensor, " columns"]
PerAnchor = Float[Tensor, " batch"]
Counts = Int64[Tensor, " batch"]
Scalar = Float[Tensor, ""]

Array = NDArray[Any]  # accepted in place of a tensor of the same shape
FLOATS = (torch.float32, torch.float64, torch.float16, torch.bfloat16)


@overload
def tensor_of(values: Tensor | Array) -> Tensor: ...
@overload
def tensor_of(values: Tensor | Array | None) -> Tensor | None: ...
def tensor_of(values: Any) -> Any:
    """Convert a NumPy array of numbers to a tensor, integers to int64; return anything else unchanged."""
    if not isinstance(values, np.ndarray) or values.dtype.kind not in "iuf":
        return values
    values = np.ascontiguousarray(values, values.dtype.newbyteorder("="))
    return torch.tensor(values, dtype=None if values.dtype.kind == "f" else torch.int64)


def unit(embeddings: Tensor) -> Tensor:
    """Rows scaled to length 1, in float32 at least: half precision is too coarse to compare with a margin."""
    return normalize(embeddings.to(torch.promote_types(embeddings.dtype, torch.float32)))


def on_cpu(values: Tensor) -> bool:
    """Whether a tensor is on the CPU. There reading a value is cheap; on a GPU it waits for all queued work."""
    return values.device.type == "cpu"


def ranked_rows(embeddings: Embeddings, what: str) -> Embeddings:
    """Unit rows for a search; raises `DivergedError` if a row is zero or not finite. `what` names the rows."""
    rows = unit(embeddings)
    lost = ~(rows.square().sum(1) > 0.5)  # a valid row has length 1, up to rounding; NaN compares as False
    if lost.any():
        raise DivergedError(
            f"{int(lost.sum())} of the {len(rows)} {what} are zero or not finite and cannot be ranked, "
            f"the first is row {int(lost.nonzero()[0])}: lower the learning rate if training diverged, "
            "else leave them out"
        )
    return rows


def require_rows(name: str, embeddings: Any) -> None:
    """Refuse embeddings that are not a tensor of real numbers [rows, dim]."""
    if not isinstance(embeddings, Tensor):
        raise ShapeError(f"{name} are a tensor, got {_kind(embeddings)}")
    if embeddings.ndim != 2:
        raise ShapeError(f"{name} are [rows, dim], got {list(embeddings.shape)}")
    if embeddings.dtype not in FLOATS or embeddings.layout != torch.strided:
        kind = embeddings.dtype if embeddings.layout == torch.strided else embeddings.layout
        way_out = ".float()" if embeddings.layout == torch.strided else ".to_dense()"
        raise ShapeError(f"{name} are dense, of float32, float64, float16 or bfloat16, got {kind}: call {way_out}")


def require_one_each(count: int, rows: str, **named: Any) -> None:
    """Refuse labels or ids that are not an int64 tensor with one number per row."""
    for name, values in named.items():
        if values is None and name.endswith("ids"):
            continue
        if not isinstance(values, Tensor):
            raise ShapeError(f"{name} are a tensor, got {_kind(values)}")
        if values.ndim != 1:
            way = ".argmax(1)" if values.ndim == 2 and values.shape[1] > 1 else ".flatten()"  # argmax: one-hot labels
            raise ShapeError(f"{name} have the shape [{count}], got {list(values.shape)}: call {way} on them")
        if len(values) != count:
            raise ShapeError(f"{count} {rows} need as many {name}, got {len(values)}")
        if values.dtype != torch.int64:
            raise ShapeError(f"{name} are int64, got {values.dtype}: call .long() on them")


def _kind(values: Any) -> str:
    """Name the type of a value that is not a tensor, and the call that makes a tensor of it."""
    number = "torch.from_numpy(numpy.unique(names, return_inverse=True)[1]) numbers them"
    if isinstance(values, np.ndarray) and values.dtype.kind in "bUSO":
        return f"an array of {values.dtype}: {number}"
    if isinstance(values, list | tuple) and any(isinstance(value, str) for value in values):
        return f"a {type(values).__name__} of texts: {number}; give each text the same number in every batch"
    return "none" if values is None else f"{type(values).__name__}: torch.as_tensor makes one"

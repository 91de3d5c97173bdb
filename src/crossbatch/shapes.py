"""The tensors of this package, by name: dtype and shape, checked at run time in tests."""

from jaxtyping import Bool, Float, Int64
from torch import Tensor

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

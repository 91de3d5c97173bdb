"""The cross-batch memory: a ring buffer of past embeddings, in one process or sharded over several."""

from crossbatch.memory.ring import STORAGE_DTYPES, CrossBatchMemory
from crossbatch.memory.rows import InUse, Rows, carried
from crossbatch.memory.shard import Shard

__all__ = ["STORAGE_DTYPES", "CrossBatchMemory", "InUse", "Rows", "Shard", "carried"]

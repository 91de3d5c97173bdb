"""The names of poolings, in a module that does not import torch."""

from typing import Literal

Pooling = Literal["avg", "max", "gem", "grid"]

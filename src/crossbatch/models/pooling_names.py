"""Ways of pooling by name, for those that need no torch."""

from typing import Literal

Pooling = Literal["avg", "max", "gem", "grid"]

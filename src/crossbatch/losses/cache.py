"""The cache that a core has to itself: what a block of similarities should fit in."""

from functools import cache
from pathlib import Path

CACHES = Path("/sys/devices/system/cpu/cpu0/cache")  # of Linux
ASSUMED = 2**19  # bytes, where the system does not tell


@cache
def second_level(caches: Path = CACHES) -> int:
    """Bytes of a core's second-level cache."""
    for each in sorted(caches.glob("index*")):
        try:
            if (each / "level").read_text().strip() == "2":
                return int((each / "size").read_text().strip().removesuffix("K")) * 1024
        except (OSError, ValueError):
            continue
    return ASSUMED

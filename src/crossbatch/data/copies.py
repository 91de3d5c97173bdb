"""Files with the same bytes: compared by size, then by both ends, and only then read whole."""

import hashlib
from collections import defaultdict
from collections.abc import Callable, Hashable, Sequence
from pathlib import Path

from crossbatch.progress import watched

END = 4096  # bytes


def copies(paths: Sequence[Path], sizes: Sequence[int]) -> list[list[int]]:
    """Groups of positions whose files have the same bytes; empty and missing files are in no group."""
    groups = _parted([[i for i, size in enumerate(sizes) if size > 0]], lambda i: sizes[i])
    groups = _parted(groups, lambda i: _ends(paths[i], sizes[i]))
    # `_ends` has read short files whole.
    short = [group for group in groups if sizes[group[0]] <= 2 * END]
    long = [group for group in groups if sizes[group[0]] > 2 * END]
    return sorted(short + _parted(long, lambda i: _whole(paths[i])))


def _parted(groups: Sequence[list[int]], key: Callable[[int], Hashable]) -> list[list[int]]:
    """Split each group by a further key; keep groups of two or more, without positions whose key is None."""
    positions = [position for group in groups for position in group]
    keys = {position: key(position) for position in watched(positions, "looking for copies")}
    kept = []
    for group in groups:
        parts: dict[Hashable, list[int]] = defaultdict(list)
        for position in group:
            parts[keys[position]].append(position)
        parts.pop(None, None)
        kept += [part for part in parts.values() if len(part) > 1]
    return kept


def _ends(path: Path, size: int) -> bytes | None:
    try:
        with path.open("rb") as file:
            begin = file.read(END if size > 2 * END else 2 * END)
            file.seek(max(size - END, len(begin)))
            return hashlib.blake2b(begin + file.read(END), digest_size=16).digest()
    except OSError:
        return None


def _whole(path: Path) -> bytes | None:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").digest()
    except OSError:
        return None

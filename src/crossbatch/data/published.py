"""A published data set as its release unpacks: found, read, and compared with its published counts."""

import hashlib
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch

from crossbatch.data.data_set import DataSet, Part, Search, hold_out
from crossbatch.data.image_files import FileImages
from crossbatch.data.roots import wrong_root
from crossbatch.data.split import Split
from crossbatch.errors import DataError

TRAIN = "train"


@dataclass(frozen=True)
class Release:
    """The names of a data set, the address where one asks for it, and its published contents.

    `listings`: paths of possible listing files below the root, one of which must exist. `expected`: images and classes
    of each part, None if not published. `ks`: the K of Recall@K in the papers.
    """

    name: str
    title: str
    source: str
    folder: str
    listings: tuple[str, ...]
    expected: Mapping[str, tuple[int | None, int | None]]
    ks: tuple[int, ...]

    def find(self, root: Path | None) -> tuple[Path, Path]:
        """Find the folder of the release, which is `root` or its subfolder `self.folder`, and the listing in it."""
        if root is not None and not root.is_dir():
            raise wrong_root(self.name, root, f"the folder {self.folder} as the release of {self.title} unpacks")
        for folder in () if root is None else (root, root / self.folder):
            for listing in self.listings:
                if (folder / listing).is_file():
                    return folder, folder / listing
        problem = "ROOT is missing" if root is None else f"{root} holds no {' or '.join(self.listings)}"
        raise DataError(
            f"{self.title} is not there ({problem}): --data {self.name} needs ROOT, the folder {self.folder} "
            f"as the release unpacks; ask for it at {self.source}"
        )


class Row(NamedTuple):
    """One image of a listing: its path as the listing writes it, its class, and the parts that it belongs to."""

    path: str
    label: str
    parts: tuple[str, ...]


def read_rows(listing: Path, columns: int, *, skip: int = 0) -> Iterator[list[str]]:
    """Yield the words of each line, split at white space; the first `skip` lines are headers."""
    try:
        with listing.open(encoding="utf-8-sig") as lines:
            for number, line in enumerate(lines, 1):
                words = line.split()
                if number > skip and words:
                    if len(words) != columns:
                        raise DataError(
                            f"{listing}, line {number}: expected {columns} columns, got {len(words)}: {line.strip()!r}"
                        )
                    yield words
    except UnicodeDecodeError as error:
        raise DataError(f"{listing} is not text ({error.reason} at byte {error.start}): unpack it again") from error
    except OSError as error:
        raise DataError(f"{listing} cannot be read ({error.strerror}): unpack the release again") from error


def build(
    release: Release, base: Path, rows: Sequence[Row], split: Split | None, tests: Mapping[str, tuple[str, str | None]]
) -> DataSet:
    """Build the data set of images below `base`; `tests` has the names of each test's query and gallery parts."""
    split = split or Split()
    twice = next((path for path, count in Counter(row.path for row in rows).items() if count > 1), None)
    if twice is not None:
        raise DataError(f"{release.title} in {base}: {twice} is listed twice, and would find itself: unpack it again")
    names = sorted({row.label for row in rows}, key=lambda label: (len(label), label))
    numbers = {label: number for number, label in enumerate(names)}
    labels = torch.tensor([numbers[row.label] for row in rows], dtype=torch.int64)
    everything = Part(labels, torch.arange(len(rows)))
    parts = {
        part: everything.select(torch.tensor([part in row.parts for row in rows], dtype=torch.bool))
        for part in dict.fromkeys(part for row in rows for part in row.parts)
    }
    for part in release.expected:
        if part not in parts:
            raise DataError(f"{release.title} has no {part} images in {base}: unpack the release again")
    _refuse_shared(release, parts, names)
    notes = _wrong_counts(release, parts)
    if notes and split.complete:
        raise DataError(
            f"{release.title} in {base}: {'; '.join(notes)}; results would not compare with published ones: "
            "bring the whole release, or go on with what is there by --split.complete false"
        )
    train, validation = hold_out(parts[TRAIN], split.validation_share, split.seed, "--split.validation_share")
    digest = hashlib.sha256("".join(f"{row.path}\t{row.label}\t{row.parts}\n" for row in rows).encode())
    return DataSet(
        release.name,
        FileImages(present(release, base, [row.path for row in rows]), base),
        tuple(names),
        train,
        validation,
        {name: Search(parts[query], parts[gallery] if gallery else None) for name, (query, gallery) in tests.items()},
        digest.hexdigest()[:8],
        ks=release.ks,
        expected=release.expected,
        notes=notes,
    )


def present(release: Release, base: Path, paths: Sequence[str]) -> list[str]:
    """Find the path of each listed file; capitals of the file name may differ. The error names a missing file."""
    folders: dict[str, dict[str, str]] = {}
    paths_on_disk, missing = [], []
    for path in paths:
        folder, _, file = path.rpartition("/")
        if folder not in folders:
            folders[folder] = _files(base / folder)
        path_on_disk = folders[folder].get(file.lower())
        if path_on_disk is None:
            missing.append(path)
        else:
            paths_on_disk.append(path_on_disk)
    if missing:
        raise DataError(
            f"{release.title}: {len(missing):,} of {len(paths):,} listed images not found in {base}, "
            f"the first is {missing[0]}: unpack the images again"
        )
    return paths_on_disk


def _files(folder: Path) -> dict[str, str]:
    """Paths of a folder's files, as strings, by their names in lower case."""
    try:
        with os.scandir(folder) as entries:
            return {entry.name.lower(): entry.path for entry in entries}
    except OSError:
        return {}


def _refuse_shared(release: Release, parts: Mapping[str, Part], names: Sequence[str]) -> None:
    """Refuse classes that are both in the training part and in another part."""
    trained = parts[TRAIN].labels.unique()
    for name, part in parts.items():
        tested = part.labels.unique()
        shared = tested[torch.isin(tested, trained)]
        if name != TRAIN and len(shared):
            raise DataError(
                f"{release.title}: classes in both the {TRAIN} and the {name} part: {len(shared):,}, "
                f"the first is {names[int(shared[0])]}: mend the listing, the test would be of classes trained on"
            )


def _wrong_counts(release: Release, parts: Mapping[str, Part]) -> list[str]:
    """A clause for each part whose counts differ from the published ones."""
    wrong = []
    for name, (images, classes) in release.expected.items():
        has = len(parts[name]), parts[name].classes
        if images not in (None, has[0]) or classes not in (None, has[1]):
            should = " of ".join(
                f"{count:,} {unit}" for count, unit in ((images, "images"), (classes, "classes")) if count is not None
            )
            wrong.append(f"the {name} part has {has[0]:,} images of {has[1]:,} classes where the release has {should}")
    return wrong

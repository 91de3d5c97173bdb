"""The image files in a tree of folders, and counts of what was left out and why."""

import itertools
import os
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path

from crossbatch import own_folders
from crossbatch.data.image_files import HEIC, NEEDS_HEIF, READS_HEIC

SUFFIXES = {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".avif", ".jp2"}
HEIC_SUFFIXES = {".heic", ".heif"}
RAW_SUFFIXES = {  # camera raw: these begin like a TIFF, of which a decoder would read only the thumbnail
    *(".3fr", ".arw", ".cr2", ".cr3", ".crw", ".dcr", ".dng", ".erf", ".iiq", ".kdc", ".mrw", ".nef", ".nrw", ".orf"),
    *(".pef", ".raf", ".raw", ".rw2", ".rwl", ".sr2", ".srf", ".srw", ".x3f"),
}
BEGINNINGS = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF8", b"II*\0", b"MM\0*")
FEW, FIRST = 100, 10  # entries, and folders, of a folder that `holds_images` looks at
NOISE = {"__macosx", "@eadir", "$recycle.bin", "lost+found"}  # folders that operating systems leave behind


class Tree:
    """Walk folders of images; `left_out` counts what was not read, by reason.

    Links to files are followed. Links to folders are followed in the root, and not further down. Folders that
    crossbatch writes, such as run folders, are left out: they hold pictures of images that are read already.
    """

    def __init__(self) -> None:
        self.left_out: Counter[str] = Counter()
        self.without_images: list[str] = []

    def classes(self, root: Path) -> list[Path]:
        """The folders of a root, sorted by name.

        Left out are hidden ones, those that operating systems leave behind, folders that crossbatch writes, and folders
        that hold such folders and no image, as `runs`.
        """
        with os.scandir(root) as entries:
            folders = sorted(Path(entry.path) for entry in entries if leads(entry.is_dir))
        unseen = [folder for folder in folders if hidden(folder.name)]
        if count := sum(map(holds_images, unseen)):
            self.left_out["hidden folders of images"] += count
        folders = [folder for folder in folders if folder not in unseen]
        return [folder for folder in folders if not self._holds_own_alone(folder)]

    def images(self, folder: Path, *, links: bool = False) -> list[Path]:
        """Images below a folder, sorted by path; notes a folder without any. `links`: follow linked folders in it."""
        paths = sorted(Path(path) for path in self._walk(str(folder), links=links))
        if not paths:
            self.without_images.append(folder.name)
        return paths

    def notes(self) -> list[str]:
        """Notes on what was left out, one sentence each."""
        notes = []
        if self.left_out:
            counted = ", ".join(f"{count:,} × {reason}" for reason, count in sorted(self.left_out.items()))
            notes.append(f"not read: {counted}")
        if self.without_images:
            names = ", ".join(self.without_images[:5]) + (", …" if len(self.without_images) > 5 else "")
            empty = len(self.without_images)
            hold = "1 class folder holds" if empty == 1 else f"{empty:,} class folders hold"
            notes.append(f"{hold} no image: {names}")
        return notes

    def beside(self, root: Path) -> None:
        """Count, as left out, the images that lie in a root itself and thus in no class folder."""
        with os.scandir(root) as entries:
            files = [entry for entry in entries if not hidden(entry.name) and leads(entry.is_file)]
        count = sum(Path(entry.name).suffix.lower() in SUFFIXES | HEIC_SUFFIXES for entry in files)
        if count:
            self.left_out["image beside the class folders"] += count

    def _holds_own_alone(self, folder: Path) -> bool:
        """Whether a folder is one of crossbatch, or holds such folders and no image; these folders are counted."""
        walked = Tree()
        if next(walked._walk(str(folder)), None) is not None:
            return False
        own = {kind: walked.left_out[kind] for kind, _ in own_folders.KINDS if kind in walked.left_out}
        self.left_out.update(own)
        return bool(own)

    def _inner(self, folder: str) -> list[os.DirEntry[str]]:
        """What a folder holds; nothing of a folder that cannot be opened, or that crossbatch writes."""
        try:
            with os.scandir(folder) as entries:
                inner = list(entries)
        except OSError:
            self.left_out["folders that cannot be opened"] += 1
            return []
        kind = own_folders.kind_of({entry.name for entry in inner})
        if kind is None:
            return inner
        self.left_out[kind] += 1
        return []

    def _walk(self, folder: str, *, links: bool = False) -> Iterator[str]:
        for entry in self._inner(folder):
            if hidden(entry.name):
                self.left_out["hidden"] += 1
            elif leads(partial(entry.is_dir, follow_symlinks=links)):
                yield from self._walk(entry.path)
            elif leads(entry.is_dir):
                self.left_out["linked folders below a class"] += 1
            elif not leads(entry.is_file):
                self.left_out["broken links" if entry.is_symlink() else "neither files nor folders"] += 1
            elif self._is_image(entry.path):
                yield entry.path

    def _is_image(self, path: str) -> bool:
        suffix = Path(path).suffix.lower()
        if suffix in SUFFIXES:
            return True
        if suffix in RAW_SUFFIXES:
            self.left_out[f"{suffix} (camera raw: save it as JPEG or PNG)"] += 1
            return False
        begins = beginning(path)
        brand = begins[8:12] if begins[4:8] == b"ftyp" else b""
        if suffix in HEIC_SUFFIXES or brand in HEIC:
            if not READS_HEIC:
                self.left_out[f"{suffix} ({NEEDS_HEIF})"] += 1
            return READS_HEIC
        if brand == b"avif" or begins.startswith(BEGINNINGS) or (begins[:4] == b"RIFF" and begins[8:12] == b"WEBP"):
            return True
        self.left_out[suffix or "without a suffix"] += 1
        return False


def holds_images(folder: Path, depth: int = 3) -> bool:
    """Whether an image lies in a folder or in the first folders below it, by the names of files; quick for any tree."""
    if not leads(folder.is_dir):
        return False
    with suppress(OSError), os.scandir(folder) as entries:
        inner = [Path(entry.path) for entry in itertools.islice(entries, FEW) if not hidden(entry.name)]
        if any(path.suffix.lower() in SUFFIXES | HEIC_SUFFIXES for path in inner):
            return True
        return depth > 1 and any(holds_images(path, depth - 1) for path in inner[:FIRST])
    return False


def leads(asks: Callable[[], bool]) -> bool:
    """Call `asks`, such as `entry.is_dir`; False if the system cannot tell, as for a link to itself."""
    try:
        return asks()
    except OSError:
        return False


def hidden(name: str) -> bool:
    """Tell whether a name is that of a hidden file or folder, or of one that operating systems leave behind."""
    return name.startswith(".") or name.lower() in NOISE


def beginning(path: str) -> bytes:
    """The first bytes of a file, which tell its format; empty if it cannot be opened."""
    try:
        with open(path, "rb") as file:  # noqa: PTH123  (the path is a str, and may hold bytes that are not UTF-8)
            return file.read(16)
    except OSError:
        return b""

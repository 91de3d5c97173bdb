"""What lies in a folder of images: the image files, and what was left out and why."""

import os
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from crossbatch.data.image_files import HEIC, NEEDS_HEIF, READS_HEIC

SUFFIXES = {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".avif", ".jp2"}
HEIC_SUFFIXES = {".heic", ".heif"}
RAW_SUFFIXES = {  # of cameras: a TIFF by its beginning, of which a decoder sees the thumbnail
    *(".3fr", ".arw", ".cr2", ".cr3", ".crw", ".dcr", ".dng", ".erf", ".iiq", ".kdc", ".mrw", ".nef", ".nrw", ".orf"),
    *(".pef", ".raf", ".raw", ".rw2", ".rwl", ".sr2", ".srf", ".srw", ".x3f"),
}
BEGINNINGS = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF8", b"II*\0", b"MM\0*")
NOISE = {"__macosx", "@eadir", "$recycle.bin", "lost+found"}  # what systems leave in folders


class Tree:
    """Walks folders of images; `left_out` counts what was not read, by reason.

    A link to a file, or from the root to a folder, is followed; a link to a folder further down is not.
    """

    def __init__(self) -> None:
        self.left_out: Counter[str] = Counter()
        self.without_images: list[str] = []

    def classes(self, root: Path) -> list[Path]:
        """The folders of a root, by name; hidden ones, and those that systems leave, are none."""
        with os.scandir(root) as entries:
            return sorted(Path(one.path) for one in entries if not hidden(one.name) and leads(one.is_dir))

    def images(self, folder: Path, *, links: bool = False) -> list[Path]:
        """Every image below a folder, by its path; one without any is noted. `links`: linked folders in it count."""
        found = sorted(Path(path) for path in self._walk(str(folder), links=links))
        if not found:
            self.without_images.append(folder.name)
        return found

    def notes(self) -> list[str]:
        """What was left out, a sentence each."""
        notes = []
        if self.left_out:
            counted = ", ".join(f"{count:,} × {reason}" for reason, count in sorted(self.left_out.items()))
            notes.append(f"not read: {counted}")
        if self.without_images:
            names = ", ".join(self.without_images[:5]) + (", …" if len(self.without_images) > 5 else "")
            notes.append(f"{len(self.without_images):,} class folders hold no image: {names}")
        return notes

    def beside(self, root: Path) -> None:
        """Note the images that lie in a root itself, in the folder of no class."""
        with os.scandir(root) as entries:
            files = [one for one in entries if not hidden(one.name) and leads(one.is_file)]
        count = sum(Path(one.name).suffix.lower() in SUFFIXES | HEIC_SUFFIXES for one in files)
        if count:
            self.left_out["images in the folder of no class"] += count

    def _walk(self, folder: str, *, links: bool = False) -> Iterator[str]:
        try:
            with os.scandir(folder) as entries:
                found = list(entries)
        except OSError:
            self.left_out["folders that cannot be opened"] += 1
            return
        for entry in found:
            if hidden(entry.name):
                self.left_out["hidden"] += 1
            elif leads(partial(entry.is_dir, follow_symlinks=links)):
                yield from self._walk(entry.path)
            elif leads(entry.is_dir):
                self.left_out["linked folders below a class"] += 1
            elif not leads(entry.is_file):
                self.left_out["broken links" if entry.is_symlink() else "no files"] += 1
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


def leads(asks: Callable[[], bool]) -> bool:
    """Whether an entry is what is asked; one that leads to itself is nothing."""
    try:
        return asks()
    except OSError:
        return False


def hidden(name: str) -> bool:
    """Whether a name is that of a hidden file or folder, or of what systems leave behind."""
    return name.startswith(".") or name.lower() in NOISE


def beginning(path: str) -> bytes:
    """The first bytes of a file, which tell its format; none where it cannot be opened."""
    try:
        with open(path, "rb") as file:  # noqa: PTH123  (a path of bytes that are no UTF-8 is a str here)
            return file.read(16)
    except OSError:
        return b""

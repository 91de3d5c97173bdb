"""Adding images to a gallery: identified by their content, so that no image is embedded twice."""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cache
from os import cpu_count, fsdecode, fsencode, walk
from os.path import realpath
from pathlib import Path
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from crossbatch.data.formats import opened
from crossbatch.data.image_files import naming
from crossbatch.errors import DataError, UnreadableError
from crossbatch.index.part_files import Entry
from crossbatch.index.rows import Rows
from crossbatch.index.sources import Found
from crossbatch.index.thumbnails import thumbnail
from crossbatch.index.writer import Change, Writer
from crossbatch.progress import watched

CHUNK = 256  # images of one file of the table: at most so many are embedded again after a kill


@runtime_checkable
class Embedder(Protocol):
    """An embedding model, as `crossbatch.load` returns it."""

    def embed_readable(
        self, images: Sequence[Any], *, batch_size: int = 64
    ) -> tuple[NDArray[np.float32], dict[int, str]]:
        """Embeddings of length 1 [images, dim], and the reason for each image that cannot be read, by its position."""


@dataclass
class Outcome:
    """The result of indexing, as numbers of images.

    `known`: already in the gallery, by content. `changed`: known ones with another label or path now. `copies`: given
    twice, byte for byte. `unlabelled`: added without a label. `linked`: files outside the folder, to which links lead.
    `lost`: ids of images in the gallery whose files are gone or hold another image. `away`: by folder, images whose
    folder is gone or empty. `outvoted`: by path of a copy that has another label, the label that is kept.
    `unreadable`: the reason, by path.
    """

    added: int = 0
    known: int = 0
    changed: int = 0
    copies: int = 0
    unlabelled: int = 0
    linked: int = 0
    lost: set[str] = field(default_factory=set)
    away: dict[str, int] = field(default_factory=dict)
    outvoted: dict[str, str | None] = field(default_factory=dict)
    unreadable: dict[str, str] = field(default_factory=dict)

    def count_copy(self, image: Found, kept: str | None) -> None:
        """Count a copy of an image that has the label `kept`."""
        self.copies += 1
        if image.label != kept:
            self.outvoted[image.path] = kept


class _New(NamedTuple):
    """An image as read; without its thumbnail if the gallery has it already."""

    found: Found
    id: str
    picture: tuple[bytes, int, int]
    image: Any  # input of the model: a path, or an image


def add(writer: Writer, found: Sequence[Found], model: Embedder) -> Outcome:
    """Embed and write new images, in whole files; an image already in the gallery gets the given label and path."""
    outcome, rows = Outcome(), writer.rows()
    seen: dict[str, str | None] = {}  # labels by id
    places: set[tuple[int, bytes | None]] = set()  # root and path of each file that could be read
    changes: dict[str, Change] = {}
    real = cache(realpath)
    with ThreadPoolExecutor(cpu_count()) as readers:
        chunks = [found[start : start + CHUNK] for start in range(0, len(found), CHUNK)]
        for chunk in watched(chunks, f"embedding, {CHUNK} images each"):
            new: list[_New] = []
            for image, read in zip(chunk, readers.map(lambda one: _read(one, rows.position), chunk), strict=True):
                if isinstance(read, str):
                    outcome.unreadable[image.path] = read
                elif read.id in seen:
                    outcome.count_copy(image, seen[read.id])
                elif read.id in rows.position:
                    outcome.known += 1
                    changes |= _change(writer, rows, image, read.id)
                else:
                    new.append(read)
                if not isinstance(read, str):
                    seen.setdefault(read.id, image.label)
                    places.add(_place(writer, image))
                    outcome.linked += image.leaves(real)
            _embed(writer, new, model, outcome)
    if changes:
        writer.update(changes)
        outcome.changed = len(changes)
    outcome.lost, outcome.away = lost(writer, places, seen)
    writer.compact()
    return outcome


class Lost(NamedTuple):
    """Ids of images whose files are gone, or hold another image; and by folder, how many images cannot be judged."""

    ids: set[str]
    away: dict[str, int]


def lost(writer: Writer, looked_at: Collection[tuple[int, bytes | None]] = (), seen: Collection[str] = ()) -> Lost:
    """Look for the files of all images.

    `looked_at`: root and path of files that were just read; `seen`: ids of their images. A folder that is gone, or has
    no file, may be a disk that is not mounted: its images are away, and not lost.
    """
    rows, replaced = writer.rows(), set()
    folders = [root.now(writer.folder) or root.names(writer.folder)[-1] for root in rows.description.roots]
    gone = defaultdict[int, set[str]](set)
    for row, id_ in enumerate(rows.ids):
        root, file = rows.place(row)
        if file is None or root < 0 or id_ in seen:
            continue
        if _is_gone(folders[root] / fsdecode(file)):
            gone[root].add(id_)
        elif (root, file) in looked_at:
            replaced.add(id_)
    there = {root for root in gone if _holds_a_file(folders[root])}
    away = Counter[str]()
    for root in gone.keys() - there:
        away[str(folders[root])] += len(gone[root])
    return Lost(replaced.union(*(gone[root] for root in there)), dict(away))


def _holds_a_file(folder: Path) -> bool:
    """Whether a file lies in a folder or below it; false if the folder cannot be opened."""
    return any(files for _, _, files in walk(folder))


def _is_gone(file: Path) -> bool:
    """Whether a file does not exist; False if the system does not say."""
    try:
        file.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        return False
    return False


def _read(found: Found, known: Any) -> "_New | str":
    """Digest and thumbnail of an image, or the reason that it cannot be read; no thumbnail if its id is `known`."""
    try:
        if found.images is not None:
            image = found.images.read(found.number)
            digest = digest_of_pixels(image)
            return _New(found, digest, (b"", 0, 0) if digest in known else thumbnail(image), image)
        path = Path(found.file or "")
        with naming(path):
            content = path.read_bytes()
            digest = digest_of(content)
            if digest in known:
                return _New(found, digest, (b"", 0, 0), path)
            with opened(content) as image:
                return _New(found, digest, thumbnail(image), path)
    except DataError as error:
        return error.reason if isinstance(error, UnreadableError) else str(error)


def digest_of(content: bytes) -> str:
    """The id of an image file: a digest of its bytes, as 32 hex digits."""
    return hashlib.blake2b(content, digest_size=16).hexdigest()


def digest_of_pixels(image: Image.Image) -> str:
    """The id of an image without a file: a digest of its mode, size and pixels."""
    return digest_of(f"{image.mode} {image.width} {image.height} ".encode() + image.tobytes())


def _change(writer: Writer, rows: Rows, found: Found, digest: str) -> dict[str, Change]:
    """The change to an image already in the gallery, empty if there is none; without a new label, the old one stays."""
    row = rows.position[digest]
    label = rows.label(row) if found.label is None else found.label
    root, file = _place(writer, found)
    now = Change(found.path, label, root, file)
    before = rows.image(row)
    return {} if now == Change(before.path, before.label, *rows.place(row)) else {digest: now}


def _place(writer: Writer, found: Found) -> tuple[int, bytes | None]:
    """Number of the root of a file, and path below it; a file outside its root gets its own folder as root."""
    if found.file is None or found.folder is None:
        return -1, None
    return writer.root(found.folder), fsencode(found.file.relative_to(found.folder))


def _embed(writer: Writer, new: Sequence[_New], model: Embedder, outcome: Outcome) -> None:
    """Embed images, write them as one file of the table, and count them in `outcome`."""
    if not new:
        return
    rows, reasons = model.embed_readable([image.image for image in new])
    outcome.unreadable |= {new[number].found.path: reason for number, reason in reasons.items()}
    kept = [number for number in range(len(new)) if number not in reasons]
    if kept:
        writer.append([_entry(writer, new[number]) for number in kept], rows[kept])
    outcome.added += len(kept)
    outcome.unlabelled += sum(new[number].found.label is None for number in kept)


def _entry(writer: Writer, new: _New) -> Entry:
    picture, width, height = new.picture
    return Entry(new.id, new.found.path, new.found.label, width, height, picture, *_place(writer, new.found))

"""Putting images into a gallery: each by its content, so that none is embedded twice."""

import hashlib
from collections import defaultdict
from collections.abc import Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from os import cpu_count, fsdecode, fsencode
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

CHUNK = 256  # images of one file: what is embedded anew at most after a kill


@runtime_checkable
class Embedder(Protocol):
    """What embeds: `crossbatch.load` returns one."""

    def embed_readable(
        self, images: Sequence[Any], *, batch_size: int = 64
    ) -> tuple[NDArray[np.float32], dict[int, str]]:
        """Unit rows, and why not, by position."""


@dataclass
class Outcome:
    """What became of the images: `known` were there by content, `changed` of these got another label or place.

    `unlabelled`: of those added, how many have no label. `lost`: ids of images that the gallery has and whose files are
    gone, or are other images by now.
    """

    added: int = 0
    known: int = 0
    changed: int = 0
    copies: int = 0
    unlabelled: int = 0
    lost: set[str] = field(default_factory=set)
    unreadable: dict[str, str] = field(default_factory=dict)


class _New(NamedTuple):
    """An image that is not there yet."""

    found: Found
    id: str
    picture: tuple[bytes, int, int]
    image: Any  # what the network reads: a path, or an image


def add(writer: Writer, found: Sequence[Found], model: Embedder) -> Outcome:
    """Embed and write what is not there yet, in whole files; what is there gets the label and place given now."""
    outcome, rows = Outcome(), writer.rows()
    seen: set[str] = set()
    places: set[tuple[int, bytes | None]] = set()  # of what could be read
    changes: dict[str, Change] = {}
    with ThreadPoolExecutor(cpu_count()) as readers:
        chunks = [found[start : start + CHUNK] for start in range(0, len(found), CHUNK)]
        for chunk in watched(chunks, f"embedding, {CHUNK} images each"):
            new: list[_New] = []
            for one, read in zip(chunk, readers.map(lambda one: _read(one, rows.position), chunk), strict=True):
                if isinstance(read, str):
                    outcome.unreadable[one.path] = read
                elif read.id in seen:
                    outcome.copies += 1
                elif read.id in rows.position:
                    outcome.known += 1
                    changes |= _change(writer, rows, one, read.id)
                else:
                    new.append(read)
                if not isinstance(read, str):
                    seen.add(read.id)
                    places.add(_place(writer, one))
            _embed(writer, new, model, outcome)
    if changes:
        writer.update(changes)
        outcome.changed = len(changes)
    outcome.lost = lost(writer, places, seen)
    writer.compact()
    return outcome


def lost(writer: Writer, looked_at: Collection[tuple[int, bytes | None]] = (), seen: Collection[str] = ()) -> set[str]:
    """Ids of images whose files are gone from their folder, or were looked at and are other images now.

    A folder that is gone, or of which every file is, may be a disk that is not there: it has lost nothing.
    """
    rows, replaced = writer.rows(), set()
    folders = [root.now(writer.folder) for root in rows.description.roots]
    gone, there = defaultdict[int, set[str]](set), set[int]()
    for row, one in enumerate(rows.ids):
        root, file = rows.place(row)
        folder = folders[root] if root >= 0 else None
        if file is None or folder is None:
            continue
        if one in seen or not _is_gone(folder / fsdecode(file)):
            there.add(root)
            if one not in seen and (root, file) in looked_at:
                replaced.add(one)
        else:
            gone[root].add(one)
    return replaced.union(*(gone[root] for root in there))


def _is_gone(file: Path) -> bool:
    """Whether a file is not there; one that cannot be asked for is."""
    try:
        file.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        return False
    return False


def _read(found: Found, known: Any) -> "_New | str":
    """Digest and thumbnail of an image, or why there is none; of one that is known the digest alone."""
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
    """The id of a file: 32 hex digits of its bytes."""
    return hashlib.blake2b(content, digest_size=16).hexdigest()


def digest_of_pixels(image: Image.Image) -> str:
    """The id of an image that is in no file."""
    return digest_of(f"{image.mode} {image.width} {image.height} ".encode() + image.tobytes())


def _change(writer: Writer, rows: Rows, found: Found, digest: str) -> dict[str, Change]:
    """What is to change of an image that is there; a label stays where none is given now."""
    row = rows.position[digest]
    label = rows.label(row) if found.label is None else found.label
    root, file = _place(writer, found)
    now = Change(found.path, label, root, file)
    before = rows.image(row)
    return {} if now == Change(before.path, before.label, *rows.place(row)) else {digest: now}


def _place(writer: Writer, found: Found) -> tuple[int, bytes | None]:
    """The number of the root and the path below it, of a file that lies below its root; else only of its folder."""
    if found.file is None:
        return -1, None
    root = found.root or found.file.parent
    if not found.file.is_relative_to(root):
        root = found.file.parent
    return writer.root(root), fsencode(found.file.relative_to(root))


def _embed(writer: Writer, new: Sequence[_New], model: Embedder, outcome: Outcome) -> None:
    """Embed images and write them as one file."""
    if not new:
        return
    rows, why = model.embed_readable([one.image for one in new])
    outcome.unreadable |= {new[number].found.path: reason for number, reason in why.items()}
    kept = [number for number in range(len(new)) if number not in why]
    if kept:
        writer.append([_entry(writer, new[number]) for number in kept], rows[kept])
    outcome.added += len(kept)
    outcome.unlabelled += sum(new[number].found.label is None for number in kept)


def _entry(writer: Writer, new: _New) -> Entry:
    picture, width, height = new.picture
    return Entry(new.id, new.found.path, new.found.label, width, height, picture, *_place(writer, new.found))

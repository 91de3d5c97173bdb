"""Queries of `crossbatch search`: images from files or the gallery, whole or cut to a box, with their embeddings."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from crossbatch.errors import DataError
from crossbatch.index import Gallery, kept_model
from crossbatch.index.box import edges_of
from crossbatch.index.indexing import digest_of
from crossbatch.index.queries import OWN_PIXELS, TooManyPixelsError, read_query
from crossbatch.index.thumbnails import thumbnail


class Asked(NamedTuple):
    """A query with its embedding.

    `name`: its name for people. `id`: None unless it is a whole image of the gallery. `picture`: its thumbnail.
    """

    name: str
    id: str | None
    vector: NDArray[np.float32]
    picture: bytes


class _Unseen(NamedTuple):
    """A query to embed; `image`: input of the network, a path or an image."""

    name: str
    image: Any
    picture: bytes


class _File(NamedTuple):
    """A file to search with: the digest of its bytes, and the query to embed if the gallery does not have them."""

    digest: str
    query: _Unseen


def read_files(files: Sequence[Path], box: str | None) -> list[_File]:
    """Read and decode the files to search with; a file or box that cannot be used is refused before any indexing."""
    if box is not None:
        edges_of(box)
    return [_read(file, box) for file in files]


def asked(gallery: Gallery, files: Sequence[_File], ids: Sequence[str], box: str | None) -> list[Asked]:
    """Queries, those by id first, then files; the network is loaded only for a part, or a file not in the gallery."""
    queries = [_of_gallery(gallery, gallery.rows.row(id_), box) for id_ in ids] + [
        _of_file(gallery, file, box) for file in files
    ]
    unseen = [query for query in queries if isinstance(query, _Unseen)]
    if not unseen:
        return [query for query in queries if isinstance(query, Asked)]
    encoder = kept_model.opened(gallery.folder, gallery.description.model.fingerprint)
    vectors = iter(encoder.embed([query.image for query in unseen]))
    return [
        query if isinstance(query, Asked) else Asked(query.name, None, next(vectors), query.picture)
        for query in queries
    ]


def _of_gallery(gallery: Gallery, row: int, box: str | None) -> Asked | _Unseen:
    rows = gallery.rows
    image = rows.image(row)
    if box is None:
        return Asked(image.path, image.id, rows.embeddings[row], gallery.thumbnail(row))
    return _part(image.path, gallery.content(row) or gallery.thumbnail(row), box, (image.width, image.height))


def _read(file: Path, box: str | None) -> _File:
    if file.is_dir():
        raise DataError(f"{file} is a folder: name the images in it that are to be searched with")
    if file.exists() and not file.is_file():
        raise DataError(f"cannot read the image {file} (it is no file): name an image file")
    try:
        content = file.read_bytes()
    except OSError as error:
        way_out = "save it as a file first" if str(file).startswith(("http:", "https:")) else "name an image file"
        raise DataError(f"cannot read the image {file} ({error.strerror}): {way_out}") from error
    query = _part(str(file), content, box)
    if box is None:
        query = query._replace(image=file)  # the encoder reads it as when it is indexed
    return _File(digest_of(content), query)


def _of_file(gallery: Gallery, file: _File, box: str | None) -> Asked | _Unseen:
    row = gallery.rows.position.get(file.digest)
    if box is None and row is not None:
        return _of_gallery(gallery, row, None)._replace(name=file.query.name)
    return file.query


def _part(name: str, content: bytes, box: str | None, size: tuple[int, int] | None = None) -> _Unseen:
    try:
        image = read_query(content, box, OWN_PIXELS, size).image
    except (DataError, TooManyPixelsError) as error:
        raise type(error)(f"{name}: {error}") from error
    return _Unseen(name, image, thumbnail(image)[0])

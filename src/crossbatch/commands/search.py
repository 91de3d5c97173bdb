"""`crossbatch search`: find the images of a gallery that are most similar to an image."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from jsonargparse.typing import PositiveInt
from rich.console import Console

from crossbatch.commands.galleries import Milvus, open_gallery
from crossbatch.commands.output import print_table, refuse_below_file
from crossbatch.errors import DataError, SettingError
from crossbatch.typed import typed

if TYPE_CHECKING:
    from crossbatch.commands.asked import Asked
    from crossbatch.index import Gallery, Hit

ID = 12  # characters of an id in the table; --id and --remove accept the beginning of an id


def search(
    gallery: Path,
    images: list[Path] = [],  # noqa: B006  (the parser shows it and never changes it)
    top: PositiveInt = 10,
    id: list[str] = [],  # noqa: A002, B006
    box: str | None = None,
    label: list[str] = [],  # noqa: B006
    min_similarity: float = -1.0,
    html: Path | None = None,
    by: Literal["auto", "exact", "milvus"] = "auto",
    data: str | None = None,
    root: Path | None = None,
    milvus: Milvus = Milvus(),  # noqa: B008  (frozen)
    *,
    console: Console,
) -> dict[str, Any] | list[dict[str, Any]]:
    """Find the images of a gallery that are most similar to an image, by cosine.

    An image of the gallery is not among its own hits. A part of an image is compared with every image, also with the
    image that it is cut from.

    Args:
        gallery: Gallery; or a run folder, whose images are indexed into RUN/gallery if that is not there yet.
        images: Image files to search with.
        top: Number of images to find for each query.
        id: Search with this image of the gallery, given by its id or the start of its id; repeatable.
        box: Search with a part: left,top,right,bottom in pixels, or in shares of the sides from 0 to 1.
        label: Find only images with this label; repeatable.
        min_similarity: Find only images with at least this cosine, from -1 to 1.
        html: Write a page of pictures to this file.
        by: How to search: exact compares each row of the table; milvus asks the database; auto asks the database if it
            is a server, else the table, which is faster than Milvus Lite at any size that was measured.
        data: Import path of your own function that reads the data set, if the run was trained with one.
        root: Where the run's data set is now, if it has moved.
        milvus: How to reach a Milvus server.
    """
    if not images and not id:
        raise SettingError(f"nothing to search with: crossbatch search {typed(gallery)} PHOTO, or --id ID")
    if not -1 <= min_similarity <= 1:
        raise SettingError(f"--min_similarity takes a cosine from -1 to 1, got {min_similarity}")
    _refuse_page(html)
    from crossbatch.commands.asked import asked, read_files  # noqa: PLC0415  (imports Pillow)

    files = read_files(images, box)
    opened = open_gallery(gallery, data, root, milvus, by, console)
    try:
        if not len(opened):
            raise DataError(
                f"the gallery {opened.folder} is empty: add images with crossbatch index {typed(opened.folder)} IMAGES"
            )
        if unknown := opened.rows.unknown(label):
            raise DataError(f"{opened.folder}: {unknown[0]}")
        queries = asked(opened, files, id, box)
        vectors, without = np.stack([query.vector for query in queries]), [query.id for query in queries]
        found = opened.search(vectors, top, label or None, min_similarity=min_similarity, without=without)
        for query, hits in zip(queries, found, strict=True):
            _show(console, opened, query.name, hits)
            if not hits:
                console.print(_nearest(opened, query, label))
        if html is not None:
            _write_page(html, opened, queries, found)
            console.print(f"page: {html}")
        results = [
            {"query": query.name, "hits": [_plain(hit) for hit in hits]}
            for query, hits in zip(queries, found, strict=True)
        ]
    finally:
        opened.close()
    return results[0] if len(results) == 1 else results


def _refuse_page(file: Path | None) -> None:
    """Refuse a page that cannot be written, before anything is searched."""
    if file is None:
        return
    refuse_below_file(file)
    folder = next(parent for parent in file.absolute().parents if parent.exists())
    if not os.access(folder, os.W_OK):
        raise SettingError(f"--html {file} cannot be written, the folder {folder} lets nobody write: name another")
    if file.is_dir():
        raise SettingError(f"--html takes a file, and {file} is a folder: name {file / 'hits.html'}")


def _show(console: Console, opened: "Gallery", name: str, hits: list["Hit"]) -> None:
    method = opened.method
    recall = "" if method.recall_at_10 is None or method.name == "exact" else f", recall@10 {method.recall_at_10:.3f}"
    title = f"{name}: {len(hits)} of {len(opened):,} images; {method.name}, by {method.by}{recall}"
    rows = [[hit.image.path, hit.image.label or "", f"{hit.similarity:.4f}", hit.image.id[:ID]] for hit in hits]
    print_table(console, title, ["path", "label", "similarity", "id"], rows)


def _nearest(opened: "Gallery", query: "Asked", label: list[str]) -> str:
    """The reason why a search found nothing, as a sentence."""
    (hits,) = opened.search(query.vector[None], 1, label or None, without=[query.id])
    if not hits:
        return "no other image" + (" has this label" if label else " is in the gallery")
    return f"no image is as similar as --min_similarity; the nearest reaches {hits[0].similarity:.4f}"


def _plain(hit: "Hit") -> dict[str, Any]:
    return {"id": hit.image.id, "path": hit.image.path, "label": hit.image.label, "similarity": hit.similarity}


def _write_page(file: Path, opened: "Gallery", queries: Sequence["Asked"], found: list[list["Hit"]]) -> None:
    from crossbatch import durable  # noqa: PLC0415
    from crossbatch.index.hits_page import Shown, hits_page  # noqa: PLC0415

    position = opened.rows.position
    searches = [
        (
            Shown(query.picture, query.name),
            [
                Shown(opened.thumbnail(position[hit.image.id]), hit.image.path, hit.image.label, hit.similarity)
                for hit in hits
            ],
        )
        for query, hits in zip(queries, found, strict=True)
    ]
    file.parent.mkdir(parents=True, exist_ok=True)
    durable.write_text(file, hits_page(opened.title, searches))

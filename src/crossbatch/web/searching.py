"""Searches of the service: embed the query if the gallery lacks its embedding, then search the gallery."""

import asyncio
import os
import time
from collections import defaultdict
from collections.abc import Awaitable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from crossbatch.errors import DataError, SettingError
from crossbatch.index import Gallery, Hit
from crossbatch.index.indexing import digest_of
from crossbatch.index.queries import Query, TooManyPixelsError, read_query
from crossbatch.index.rows import Rows
from crossbatch.index.thumbnails import preview
from crossbatch.web.batcher import Batcher
from crossbatch.web.limits import Limits, RefusedError
from crossbatch.web.together import Together

Answer = TypeVar("Answer")
NAME = 200  # characters of an uploaded file's name in the answer


@dataclass(frozen=True)
class Wish:
    """Options of a search: number of images, their labels, and least similarity."""

    top: int
    labels: tuple[str, ...] = ()
    min_similarity: float = -1.0


class Sought(NamedTuple):
    """A search to make: the query's embedding [dim] among `rows`; `without`: id of an image to leave out."""

    rows: Rows
    vector: NDArray[np.float32]
    wish: Wish
    without: str | None


class Searcher:
    """Answers searches of a gallery, several at once, within limits."""

    def __init__(self, gallery: Gallery, batcher: Batcher, limits: Limits) -> None:
        self.gallery, self.batcher, self.limits = gallery, batcher, limits
        self._model = gallery.description.model.fingerprint  # fingerprint of the batcher's model
        # One decoder per core: each may need some hundred megabytes.
        self._decoders = ThreadPoolExecutor(os.cpu_count() or 1, "decoding")
        self._searches = Together[Sought, list[Hit]](self._search, "searching")

    def close(self) -> None:
        """End the threads."""
        self._decoders.shutdown(wait=False, cancel_futures=True)
        self._searches.close(0)

    async def by_id(self, one: str, wish: Wish, box: str | None = None) -> dict[str, Any]:
        """Search with an image of the gallery, or a part of it."""
        return await self._by_id(self.gallery.rows, one, wish, box)

    async def _by_id(self, rows: Rows, one: str, wish: Wish, box: str | None) -> dict[str, Any]:
        row = row_of(rows, one)
        image = rows.image(row)
        one = image.id
        if box is None:
            about = {"id": one, "name": image.path, "width": image.width, "height": image.height, "box": None}
            return await self._within(self._answer(rows, rows.embeddings[row], wish, about, 0.0))

        def cut() -> Query:
            content = self.gallery.content(row, rows) or self.gallery.thumbnail(row, rows)
            return self._read(content, box, (image.width, image.height))

        return await self._within(self._by_query(rows, cut, wish, one, image.path))

    async def by_upload(self, content: bytes, name: str, wish: Wish, box: str | None = None) -> dict[str, Any]:
        """Search with an uploaded file; a file that is in the gallery is not embedded again."""
        rows = self.gallery.rows
        one = digest_of(content)
        if box is None and one in rows.position:
            return await self._by_id(rows, one, wish, box)
        return await self._within(self._by_query(rows, lambda: self._read(content, box), wish, None, name[-NAME:]))

    async def preview(self, content: bytes) -> bytes:
        """A JPEG of an uploaded file, which a browser can show."""
        decoding = asyncio.get_running_loop().run_in_executor(
            self._decoders, lambda: preview(self._read(content, None).image)
        )
        return await self._within(decoding, "reading the image")

    async def _by_query(self, rows: Rows, read: Any, wish: Wish, one: str | None, name: str) -> dict[str, Any]:
        if rows.description.model.fingerprint != self._model:
            problem = "the gallery was made anew with another model while the server ran"
            raise RefusedError(503, "other_model", f"{problem}: restart crossbatch serve to search with images")
        query: Query = await asyncio.get_running_loop().run_in_executor(self._decoders, read)
        began = time.perf_counter()
        vector = await asyncio.wrap_future(self.batcher.submit(query.image))
        took = time.perf_counter() - began
        box = None if query.box is None else query.box.edges
        about = {"id": one, "name": name, "width": query.width, "height": query.height, "box": box}
        return await self._answer(rows, vector, wish, about, took)

    async def _answer(
        self, rows: Rows, vector: NDArray[np.float32], wish: Wish, about: dict[str, Any], took: float
    ) -> dict[str, Any]:
        began = time.perf_counter()
        without = about["id"] if about["box"] is None else None
        hits = await asyncio.wrap_future(self._searches.submit(Sought(rows, vector, wish, without)))
        method = self.gallery.method_for(rows)
        return {
            "query": about,
            "hits": [{**hit.image.plain(), "similarity": hit.similarity} for hit in hits],
            "notes": rows.unknown(wish.labels),
            "search": {"method": method.name, "recall_at_10": method.recall_at_10, "images": len(rows)},
            "milliseconds": {
                "embedding": round(1e3 * took, 2),
                "search": round(1e3 * (time.perf_counter() - began), 2),
            },
        }

    def _search(self, wanted: Sequence[Sought]) -> list[list[Hit]]:
        """Answer searches; those with equal options on the same rows share one matrix product, which saves time."""
        groups = defaultdict[Any, list[int]](list)
        for place, search in enumerate(wanted):
            groups[id(search.rows), search.wish].append(place)
        answers: list[list[Hit]] = [[] for _ in wanted]
        for (_, wish), places in groups.items():
            group = [wanted[place] for place in places]
            without = [search.without for search in group]
            hits = self.gallery.search(
                np.stack([search.vector for search in group]),
                wish.top,
                wish.labels or None,
                min_similarity=wish.min_similarity,
                without=without if any(without) else (),
                rows=group[0].rows,
            )
            for place, answer in zip(places, hits, strict=True):
                answers[place] = answer
        return answers

    def _read(self, content: bytes, box: str | None, size: tuple[int, int] | None = None) -> Query:
        try:
            return read_query(content, box, self.limits.pixels, size)
        except TooManyPixelsError as error:
            raise RefusedError(422, "too_many_pixels", str(error)) from error
        except SettingError as error:
            raise RefusedError(422, "bad_request", str(error)) from error
        except DataError as error:
            raise RefusedError(415, "not_an_image", str(error)) from error

    async def _within(self, work: Awaitable[Answer], what: str = "the search") -> Answer:
        try:
            async with asyncio.timeout(self.limits.seconds):
                return await work
        except TimeoutError:
            problem = f"{what} took longer than {self.limits.seconds:g} s"
            raise RefusedError(504, "timeout", f"{problem}: try again, or with a smaller image") from None


def row_of(rows: Rows, one: str) -> int:
    """The row of an id, or of its unique beginning; refused with status 404 if there is none."""
    try:
        return rows.row(one)
    except DataError as error:
        raise RefusedError(404, "unknown_image", str(error)) from error

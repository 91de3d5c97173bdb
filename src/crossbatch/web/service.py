"""The state that all requests of a service share."""

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from fastapi import FastAPI
from starlette.concurrency import run_in_threadpool

from crossbatch.errors import CrossBatchError
from crossbatch.index import Gallery
from crossbatch.index.part_files import LostFileError
from crossbatch.index.pictures import Picture
from crossbatch.index.rows import Rows
from crossbatch.web.batcher import Batcher, Model
from crossbatch.web.limits import Limits
from crossbatch.web.map_answer import Packed, packed_map
from crossbatch.web.searching import Searcher, row_of

FOLLOWED = 1.0  # seconds between two checks whether a writer has changed the gallery
PICTURES = 2  # threads that read or convert originals: each may need some hundred megabytes


class Service:
    """The gallery, the network with its queue, the searches, and the map as it was last packed."""

    def __init__(self, gallery: Gallery, load: Callable[[], Model], limits: Limits, token: str | None) -> None:
        self.gallery, self.limits, self.token = gallery, limits, token
        self.batcher = Batcher(load)
        self.searcher = Searcher(gallery, self.batcher, limits)
        self._maps: dict[tuple[str, int], Packed] = {}
        self._packing = threading.Lock()
        self._pictures = ThreadPoolExecutor(PICTURES, "pictures")

    @contextlib.asynccontextmanager
    async def life(self, _: FastAPI) -> AsyncIterator[None]:
        """Lifespan of the app: follow changes of the gallery; at the end, refuse waiting requests and end threads."""
        following = asyncio.create_task(self._follow())
        try:
            yield
        finally:
            following.cancel()
            await run_in_threadpool(self.batcher.close)
            self.searcher.close()
            self._pictures.shutdown(wait=False, cancel_futures=True)
            self.gallery.close()

    async def _follow(self) -> None:
        while True:
            await asyncio.sleep(FOLLOWED)
            # A gallery that is being moved or repaired fails here; it is read at a later check.
            with contextlib.suppress(CrossBatchError, OSError):
                await run_in_threadpool(self.gallery.refresh)

    async def picture(self, one: str) -> Picture:
        """The original of an image, or its thumbnail; at most `PICTURES` are read at a time, further requests wait."""
        rows = self.gallery.rows
        row = row_of(rows, one)
        return await asyncio.get_running_loop().run_in_executor(self._pictures, self.gallery.picture, row, rows)

    def map(self, limit: int) -> Packed:
        """The map of at most `limit` images, packed once per version; if its file is gone, reads the gallery again."""
        with self._packing:
            try:
                return self._packed(self.gallery.rows, limit)
            except LostFileError:
                self.gallery.refresh()
                return self._packed(self.gallery.rows, limit)

    def _packed(self, rows: Rows, limit: int) -> Packed:
        key = (rows.description.version, limit)
        if key not in self._maps:
            packed = packed_map(self.gallery, rows, limit)
            current = {other: kept for other, kept in self._maps.items() if other[0] == key[0]}
            self._maps = {**(current if len(current) < 4 else {}), key: packed}
        return self._maps[key]

    def about(self) -> dict[str, Any]:
        """The fields of `GalleryAnswer`."""
        gallery, rows = self.gallery, self.gallery.rows
        model, method, described = rows.description.model, gallery.method, rows.description.map
        return {
            "name": gallery.title,
            "images": len(rows),
            "labels": len(rows.labels),
            "unlabelled": int((rows.label_of < 0).sum()),
            "version": rows.description.version,
            "model": {"fingerprint": model.fingerprint, "backbone": model.backbone, "dim": model.dim},
            "search": {"method": method.name, "recall_at_10": method.recall_at_10, "images": len(rows)},
            "map": None if described is None or not len(rows) else {"points": len(rows), "method": described.method},
            "limits": self.limits.plain(),
            "ready": self.batcher.ready,
            "token": self.token is not None,
            "notes": gallery.notes,
        }

"""A reader's connection to the database of a gallery: opened at the first search, and again after a failure."""

import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crossbatch.errors import RunError
from crossbatch.index.description import Description
from crossbatch.index.milvus import Client, is_server, reason
from crossbatch.typed import typed


class Link:
    """Searches the database that a description names; raises `RunError` if the database fails."""

    def __init__(self, folder: Path, options: Mapping[str, Any]) -> None:
        self._folder, self._options = folder, options
        self._lock = threading.Lock()
        self._client: Client | None = None
        self._to = ("", "")  # address and collection of the connection

    def search(
        self, described: Description, queries: NDArray[np.float32], top: int, labels: Sequence[str] | None
    ) -> list[list[tuple[str, float]]]:
        """Ids and cosines for each query, the most similar first; `labels`: only images with one of these labels."""
        client = self._connected(described)
        try:
            return client.collection(described.database.collection, described.model.dim).search(queries, top, labels)
        except Exception as error:  # pymilvus raises errors of many kinds
            self._leave(client)
            raise self._failed(client, error) from error

    def close(self) -> None:
        """Close the connection."""
        if self._client is not None:
            self._leave(self._client)

    def _connected(self, described: Description) -> Client:
        database = described.database
        with self._lock:
            if self._client is not None:
                if self._to == (database.uri, database.collection):
                    return self._client
                self._client.close()
                self._client = None
            local = self._folder / database.uri
            if not is_server(database.uri) and not local.is_dir():
                raise RunError(f"the database {local} is gone: crossbatch index {typed(self._folder)} makes it again")
            client = Client(self._folder, database.uri, self._options)
            try:
                client.collection(database.collection, described.model.dim).load()
            except Exception as error:  # pymilvus raises errors of many kinds
                client.close()
                raise self._failed(client, error) from error
            self._client, self._to = client, (database.uri, database.collection)
            return client

    def _leave(self, client: Client) -> None:
        with self._lock:
            if self._client is client:
                self._client = None
                client.close()

    def _failed(self, client: Client, error: Exception) -> RunError:
        way_out = (
            "see that it runs" if is_server(client.shown) else f"mend it with crossbatch index {typed(self._folder)}"
        )
        return RunError(f"the database {client.shown} failed ({reason(error)}): {way_out}, or search with --by exact")

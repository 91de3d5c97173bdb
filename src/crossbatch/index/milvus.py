"""Milvus, as a database in a local folder or as a server, through the same calls; pymilvus is imported here only."""

import hashlib
import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
from numpy.typing import NDArray

from crossbatch.errors import MissingExtraError, RunError, SettingError

LOCAL = "milvus.db"
FLAT_ROWS = 100_000  # up to here the index is FLAT, which compares with every row
CHUNK = 4096  # rows of one call: 2 MB for 128 dimensions
HNSW = {"M": 16, "efConstruction": 200}
EF = 128  # ef of an HNSW search, at least; twice the number of hits if that is more
NO_LABEL = -1


def label_number(label: str | None) -> int:
    """A digest of a label as a number: it fits labels of any length and script, and needs no escapes in a filter."""
    if label is None:
        return NO_LABEL
    return int.from_bytes(hashlib.blake2b(label.encode(), digest_size=8).digest(), "big") >> 1


class Collection:
    """The rows of one gallery in a database: id, label and embedding."""

    def __init__(self, client: Any, name: str, dim: int) -> None:
        self._client, self.name, self.dim = client, name, dim

    @property
    def is_there(self) -> bool:
        """Whether the database holds the collection."""
        return bool(self._client.has_collection(self.name))

    def load(self) -> None:
        """Load the collection into memory, as a search requires."""
        self._client.load_collection(self.name)

    def make(self, rows: int) -> str:
        """Make an empty collection, in place of any of its name; return the kind of index that fits `rows` rows."""
        from pymilvus import DataType  # noqa: PLC0415

        self.drop()
        kind = kind_for(rows)
        schema = self._client.create_schema(auto_id=False)
        schema.add_field("id", DataType.VARCHAR, max_length=32, is_primary=True)
        schema.add_field("label", DataType.INT64)
        schema.add_field("embedding", DataType.FLOAT_VECTOR, dim=self.dim)
        index = self._client.prepare_index_params()
        index.add_index("embedding", index_type=kind, metric_type="COSINE", params=HNSW if kind == "HNSW" else {})
        self._client.create_collection(self.name, schema=schema, index_params=index, consistency_level="Strong")
        return kind

    def drop(self) -> None:
        """Remove the collection if it exists."""
        if self.is_there:
            self._client.drop_collection(self.name)

    def put(self, ids: Sequence[str], labels: Sequence[int], rows: NDArray[np.float32]) -> None:
        """Insert rows, or replace those of the same ids; flush them, as Milvus else writes to disk only when closed."""
        for start in range(0, len(ids), CHUNK):
            chunk = slice(start, start + CHUNK)
            columns = zip(ids[chunk], labels[chunk], rows[chunk], strict=True)
            self._client.upsert(
                self.name, [{"id": id_, "label": label, "embedding": row} for id_, label, row in columns]
            )
            self._client.flush(self.name)

    def remove(self, ids: Sequence[str]) -> None:
        """Remove rows by id."""
        for start in range(0, len(ids), CHUNK):
            self._client.delete(self.name, ids=list(ids[start : start + CHUNK]))
        if ids:
            self._client.flush(self.name)

    def labels(self) -> dict[str, int]:
        """The label number of each id."""
        self.load()
        pages = self._client.query_iterator(self.name, batch_size=CHUNK, filter="", output_fields=["id", "label"])
        numbers: dict[str, int] = {}
        try:
            while page := pages.next():
                numbers.update((row["id"], row["label"]) for row in page)
        finally:
            pages.close()
        return numbers

    def search(
        self, queries: NDArray[np.float32], top: int, labels: Sequence[str] | None = None
    ) -> list[list[tuple[str, float]]]:
        """Ids and cosines for each query, the most similar first; `labels`: only images with one of these labels."""
        wanted = "" if labels is None else f"label in {[label_number(label) for label in labels]}"
        answers = self._client.search(
            self.name,
            list(queries),
            limit=top,
            filter=wanted,
            search_params={"metric_type": "COSINE", "params": {"ef": max(EF, 2 * top)}},
        )
        return [[(str(hit["id"]), float(hit["distance"])) for hit in hits] for hits in answers]


def kind_for(rows: int) -> str:
    """The kind of index that fits a number of rows."""
    return "FLAT" if rows <= FLAT_ROWS else "HNSW"


def is_server(uri: str) -> bool:
    """Whether an address is that of a server, not a folder; pymilvus opens any address that ends in .db as a file."""
    parts = urlsplit(uri)
    return parts.scheme in ("http", "https") and bool(parts.hostname) and not uri.endswith(".db")


def refuse_secret(uri: str) -> None:
    """Refuse a user or a password in the address of a server: the address is written into the gallery and printed."""
    if "@" in urlsplit(uri).netloc:
        where = uri.rpartition("@")[2]
        problem = f"the address of {where} holds a user or a password"
        raise SettingError(f"{problem}: give it in the variable MILVUS_TOKEN, as user:password")


@contextmanager
def connected(folder: Path, uri: str, options: Mapping[str, Any]) -> Iterator["Client"]:
    """Connect to the database of a gallery; closing at the end lets other processes open a local one."""
    client = Client(folder, uri, options)
    try:
        yield client
    except client.errors as error:
        raise RunError(f"the database {client.shown} failed: {reason(error)}") from error
    finally:
        client.close()


class Client:
    """A connection to Milvus; `uri`: a server, or a folder within the gallery `folder`; `options`: for pymilvus."""

    def __init__(self, folder: Path, uri: str, options: Mapping[str, Any]) -> None:
        # gRPC writes messages of its keep-alive to standard error, across the progress bar.
        os.environ.setdefault("GRPC_VERBOSITY", "NONE")
        try:
            import pymilvus  # noqa: PLC0415
            from pymilvus.exceptions import MilvusException  # noqa: PLC0415
        except ModuleNotFoundError:
            raise MissingExtraError("the database of a gallery", "pymilvus", "index") from None
        for name in ("pymilvus", "milvus_lite", "grpc"):
            logging.getLogger(name).setLevel(logging.CRITICAL)  # errors that they log, they also raise
        self.errors = (MilvusException,)
        self.shown = uri if is_server(uri) else str(folder / uri)
        self._local = None if is_server(uri) else str(folder / uri)
        try:
            self._client = pymilvus.MilvusClient(self.shown, **options)
        except ModuleNotFoundError:
            raise MissingExtraError("a database in a folder", "milvus-lite", "index") from None
        except Exception as error:  # pymilvus raises errors of many kinds: gRPC's, ValueError, its own
            hint = "is it running, and are token and certificate right?" if is_server(uri) else "is it in use?"
            raise RunError(f"the database {self.shown} cannot be opened ({reason(error)}): {hint}") from error

    def collection(self, name: str, dim: int) -> Collection:
        """The collection of a gallery, whether or not it exists yet."""
        return Collection(self._client, name, dim)

    def close(self) -> None:
        """Disconnect from a server; write out and unlock a local database."""
        self._client.close()
        if self._local is not None:
            from milvus_lite import server_manager_instance  # noqa: PLC0415

            server_manager_instance.release_server(self._local)


def is_held(local: Path) -> bool:
    """Whether another process has a local database open."""
    from milvus_lite import DataDirLockedError, MilvusLite  # noqa: PLC0415

    try:
        MilvusLite(str(local)).close()
    except DataDirLockedError:
        return True
    except Exception:  # a damaged database raises errors of many kinds
        return False
    return False


def reason(error: BaseException) -> str:
    """The first line of an error's message, or the name of its class."""
    return (str(error).splitlines() or [type(error).__name__])[0].strip().rstrip(".")

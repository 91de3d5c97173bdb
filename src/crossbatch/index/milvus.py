"""The door to Milvus: a database in a local folder, or a server, by the same calls."""

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
FLAT_ROWS = 100_000  # up to here a server compares with every row
CHUNK = 4096  # rows of one call: 2 MB for embeddings of 128
HNSW = {"M": 16, "efConstruction": 200}
EF = 128  # of a search, at least; more for more hits
NO_LABEL = -1


def label_number(label: str | None) -> int:
    """A label as a number, by its digest: text of any length and script, and nothing to escape in a filter."""
    if label is None:
        return NO_LABEL
    return int.from_bytes(hashlib.blake2b(label.encode(), digest_size=8).digest(), "big") >> 1


class Collection:
    """The rows of one gallery in a database: id, label and embedding."""

    def __init__(self, client: Any, name: str, dim: int) -> None:
        self._client, self.name, self.dim = client, name, dim

    @property
    def is_there(self) -> bool:
        """Whether the database holds it."""
        return bool(self._client.has_collection(self.name))

    def load(self) -> None:
        """Make it ready to be searched."""
        self._client.load_collection(self.name)

    def make(self, rows: int) -> str:
        """Make it anew, with the index that fits so many rows; which one."""
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
        """Remove it, if it is there."""
        if self.is_there:
            self._client.drop_collection(self.name)

    def put(self, ids: Sequence[str], labels: Sequence[int], rows: NDArray[np.float32]) -> None:
        """Write rows over those of the same ids, and have them on the disk: else they reach it when it is closed."""
        for start in range(0, len(ids), CHUNK):
            some = slice(start, start + CHUNK)
            columns = zip(ids[some], labels[some], rows[some], strict=True)
            self._client.upsert(
                self.name, [{"id": one, "label": label, "embedding": row} for one, label, row in columns]
            )
            self._client.flush(self.name)

    def remove(self, ids: Sequence[str]) -> None:
        """Take rows out."""
        for start in range(0, len(ids), CHUNK):
            self._client.delete(self.name, ids=list(ids[start : start + CHUNK]))
        if ids:
            self._client.flush(self.name)

    def labels(self) -> dict[str, int]:
        """The label of each id, as numbers."""
        self.load()
        pages = self._client.query_iterator(self.name, batch_size=CHUNK, filter="", output_fields=["id", "label"])
        found: dict[str, int] = {}
        try:
            while page := pages.next():
                found.update((one["id"], one["label"]) for one in page)
        finally:
            pages.close()
        return found

    def search(
        self, queries: NDArray[np.float32], top: int, labels: Sequence[str] | None = None
    ) -> list[list[tuple[str, float]]]:
        """Ids and cosines for each query, most similar first; `labels`: only images with one of these."""
        wanted = "" if labels is None else f"label in {[label_number(one) for one in labels]}"
        found = self._client.search(
            self.name,
            list(queries),
            limit=top,
            filter=wanted,
            search_params={"metric_type": "COSINE", "params": {"ef": max(EF, 2 * top)}},
        )
        return [[(str(hit["id"]), float(hit["distance"])) for hit in hits] for hits in found]


def kind_for(rows: int) -> str:
    """The kind of index for so many rows."""
    return "FLAT" if rows <= FLAT_ROWS else "HNSW"


def is_server(uri: str) -> bool:
    """Whether a place is the address of a server, rather than a folder; pymilvus opens what ends in .db as a file."""
    parts = urlsplit(uri)
    return parts.scheme in ("http", "https") and bool(parts.hostname) and not uri.endswith(".db")


def refuse_secret(uri: str) -> None:
    """Refuse a user or a password in the address of a server: it is written into the gallery, and told."""
    if "@" in urlsplit(uri).netloc:
        where = uri.rpartition("@")[2]
        told = f"the address of {where} holds a user or a password"
        raise SettingError(f"{told}: give it in the variable MILVUS_TOKEN, as user:password")


@contextmanager
def connected(folder: Path, uri: str, options: Mapping[str, Any]) -> Iterator["Client"]:
    """A connection to the database of a gallery; closed at the end, which gives a local one back."""
    client = Client(folder, uri, options)
    try:
        yield client
    except client.errors as error:
        raise RunError(f"the database {client.shown} failed: {reason(error)}") from error
    finally:
        client.close()


class Client:
    """A connection to Milvus: `uri` is a server's, or a folder in the gallery's; `options` go to pymilvus."""

    def __init__(self, folder: Path, uri: str, options: Mapping[str, Any]) -> None:
        # gRPC writes of its keep-alive on standard error, where a bar is drawn.
        os.environ.setdefault("GRPC_VERBOSITY", "NONE")
        try:
            import pymilvus  # noqa: PLC0415
            from pymilvus.exceptions import MilvusException  # noqa: PLC0415
        except ModuleNotFoundError:
            raise MissingExtraError("the database of a gallery", "pymilvus", "index") from None
        for name in ("pymilvus", "milvus_lite", "grpc"):
            logging.getLogger(name).setLevel(logging.CRITICAL)  # what they log they raise too
        self.errors = (MilvusException,)
        self.shown = uri if is_server(uri) else str(folder / uri)
        self._local = None if is_server(uri) else str(folder / uri)
        try:
            self._client = pymilvus.MilvusClient(self.shown, **options)
        except ModuleNotFoundError:
            raise MissingExtraError("a database in a folder", "milvus-lite", "index") from None
        except Exception as error:  # pymilvus raises what its parts raise: gRPC's errors, value errors, its own
            told = "is it running, and are token and certificate right?" if is_server(uri) else "is it in use?"
            raise RunError(f"the database {self.shown} cannot be opened ({reason(error)}): {told}") from error

    def collection(self, name: str, dim: int) -> Collection:
        """The rows of a gallery."""
        return Collection(self._client, name, dim)

    def close(self) -> None:
        """Leave a server; write out and unlock a local database."""
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
    except Exception:  # a damaged one raises what its parts raise
        return False
    return False


def reason(error: BaseException) -> str:
    """The first line of what a library says."""
    return (str(error).splitlines() or [type(error).__name__])[0].strip().rstrip(".")

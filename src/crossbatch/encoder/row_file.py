"""A file of rows, Parquet or NPZ, written in chunks so that no image is embedded twice after a kill."""

import hashlib
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from crossbatch import durable, runs
from crossbatch.data.listing import Listed
from crossbatch.data.parquet import parquet
from crossbatch.encoder.encoder import Encoder
from crossbatch.errors import RunError, UnreadableError
from crossbatch.harmless import shown
from crossbatch.locks import locked

CHUNK = 2048  # images whose rows are kept together; a kill loses at most one chunk
SUFFIXES = (".parquet", ".npz")
TABLE = "a .parquet table"
KNOWN, LOCK = "rows.json", "lock"  # in the folder of chunks
Chunk = dict[str, Any]  # id int64, path and label text, embedding float32 [images, dim]


def write_rows(out: Path, encoder: Encoder, images: Sequence[Listed], *, skip: bool = False) -> dict[int, str]:
    """Embed images into a file. With `skip`, images that cannot be read are left out, and reasons returned by position.

    Columns are id (the position in the list), path, label and embedding. Chunks lie in OUT.partial until the file is
    whole. The same call continues from them; another model or another list starts again.
    """
    refuse_name(out)
    chunks = out.with_name(f"{out.name}.partial")
    _refuse_others(chunks)
    with locked(chunks / LOCK, "wait for its end, or name another --out"):
        _begin(chunks, _identity(encoder, images))
        gaps: dict[int, str] = {}
        for start in range(0, len(images), CHUNK):
            kept = chunks / f"{start:012d}.npz"
            if not kept.is_file() or (not skip and _gaps(kept)):
                try:
                    _write(kept, start, encoder, images[start : start + CHUNK], skip=skip)
                except UnreadableError:
                    if not any(chunks.glob("*.npz")):  # nothing to continue from
                        shutil.rmtree(chunks)
                    raise
            gaps |= _gaps(kept)
        _join(out, chunks)
        shutil.rmtree(chunks)
    return gaps


def refuse_name(out: Path) -> None:
    """Refuse a file that exists, or that is neither .parquet nor .npz."""
    if out.suffix.lower() not in SUFFIXES:
        raise RunError(f"rows are written to a .parquet or .npz file, got {out}")
    if out.exists():
        raise RunError(f"{out} is there already: name another --out, or remove it")
    if out.suffix.lower() == ".parquet":
        parquet(TABLE)


def _identity(encoder: Encoder, images: Sequence[Listed]) -> dict[str, Any]:
    digest = hashlib.sha256()
    for image in images:
        state = image.path.stat()
        digest.update(f"{shown(image.path)}\t{image.label}\t{state.st_size}\t{state.st_mtime_ns}\n".encode())
    return {"model": encoder.fingerprint, "half": encoder.half, "images": len(images), "listing": digest.hexdigest()}


def _refuse_others(chunks: Path) -> None:
    """Refuse a folder of chunks that holds files which `write_rows` did not write."""
    if chunks.is_dir() and not (chunks / KNOWN).is_file():
        others = [
            file.name for file in chunks.iterdir() if file.name != LOCK and not file.name.endswith(durable.PARTIAL)
        ]
        if others:
            raise RunError(f"{chunks} holds other files, such as {others[0]}: move it away, or name another --out")


def _begin(chunks: Path, identity: dict[str, Any]) -> None:
    """Begin a folder of chunks; delete its chunks if they are of other images or another model."""
    known = chunks / KNOWN
    if not (known.is_file() and runs.read_json(known) == identity):
        for kept in chunks.glob("*.npz"):
            kept.unlink()
        runs.write_json(known, identity)


def _write(kept: Path, start: int, encoder: Encoder, images: Sequence[Listed], *, skip: bool) -> None:
    paths = [image.path for image in images]
    rows, gaps = encoder.embed_readable(paths) if skip else (encoder.embed(paths), {})
    readable = [place for place in range(len(images)) if place not in gaps]
    with durable.whole(kept) as file:
        np.savez(
            file,
            id=np.array([start + place for place in readable], dtype=np.int64),
            path=np.array([shown(paths[place]) for place in readable], dtype=np.str_),
            label=np.array([images[place].label or "" for place in readable], dtype=np.str_),
            embedding=rows[readable],
            gaps=np.array([start + place for place in gaps], dtype=np.int64),
            reasons=np.array(list(gaps.values()), dtype=np.str_),
        )


def _gaps(kept: Path) -> dict[int, str]:
    with np.load(kept, allow_pickle=False) as chunk:
        return dict(zip(chunk["gaps"].tolist(), chunk["reasons"].tolist(), strict=True))


def _chunks(folder: Path) -> Iterator[Chunk]:
    for kept in sorted(folder.glob("*.npz")):
        with np.load(kept, allow_pickle=False) as chunk:
            yield {name: chunk[name] for name in ("id", "path", "label", "embedding")}


def _join(out: Path, chunks: Path) -> None:
    """Join all chunks into one file, written as a whole."""
    with durable.whole(out) as file:
        if out.suffix.lower() == ".parquet":
            _join_parquet(file, chunks)
        else:
            columns = list(_chunks(chunks))
            joined: Any = {name: np.concatenate([chunk[name] for chunk in columns]) for name in columns[0]}
            np.savez(file, **joined)


def _join_parquet(file: BinaryIO, chunks: Path) -> None:
    arrow, files = parquet(TABLE)
    writer = None
    for chunk in _chunks(chunks):
        flat = arrow.array(chunk["embedding"].reshape(-1))
        columns = {
            "id": arrow.array(chunk["id"]),
            "path": arrow.array(chunk["path"].tolist(), arrow.string()),
            "label": arrow.array([label or None for label in chunk["label"].tolist()], arrow.string()),
            "embedding": arrow.FixedSizeListArray.from_arrays(flat, chunk["embedding"].shape[1]),
        }
        table = arrow.table(columns)
        writer = writer or files.ParquetWriter(file, table.schema)
        writer.write_table(table)
    if writer is not None:
        writer.close()

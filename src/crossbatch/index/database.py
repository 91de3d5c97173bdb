"""Copying the table of a gallery to its database; the table is the source of truth."""

import shutil
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from crossbatch.errors import RunError
from crossbatch.index.description import Database
from crossbatch.index.milvus import LOCAL, Client, Collection, connected, is_held, is_server, kind_for, label_number
from crossbatch.index.rows import Rows
from crossbatch.index.search import nearest
from crossbatch.index.writer import Writer
from crossbatch.progress import watched

SAMPLE, NEIGHBOURS = 200, 10  # recall is measured on so many rows, by so many neighbours of each
STEP = 4096  # rows written between two moves of the progress bar


def bring_in_step(writer: Writer, options: Mapping[str, Any]) -> Database:
    """Copy new and changed rows to the database, remove rows that the table lacks, and measure the recall.

    The collection is made again if its kind of index does not fit the number of rows, and a local database if it cannot
    be used. A local database that another process has open stays as it is, behind the table.
    """
    database, rows = writer.description.database, writer.rows()
    try:
        with connected(writer.folder, database.uri, options) as client:
            followed = _follow(client, database, rows)
    except RunError:
        local = writer.folder / LOCAL
        if is_server(database.uri) or not local.is_dir():
            raise
        if is_held(local):
            return database
        shutil.rmtree(local)
        with connected(writer.folder, database.uri, options) as client:
            followed = _follow(client, database, rows)
    writer.keep_database(followed)
    return followed


def _follow(client: Client, database: Database, rows: Rows) -> Database:
    collection = client.collection(database.collection, rows.description.model.dim)
    wanted = dict(zip(rows.ids, _labels(rows), strict=True))
    kind = database.kind
    if kind != kind_for(len(rows)) or not collection.is_there:
        kind = collection.make(len(rows))
        known: dict[str, int] = {}
    else:
        known = collection.labels()
    collection.remove([id_ for id_ in known if id_ not in wanted])
    new = np.array([row for row, (id_, label) in enumerate(wanted.items()) if known.get(id_) != label], dtype=np.int64)
    steps = [new[start : start + STEP] for start in range(0, len(new), STEP)]
    for step in watched(steps, f"into {client.shown}, {STEP:,} rows each"):
        ids = [rows.ids[row] for row in step]
        collection.put(ids, [wanted[id_] for id_ in ids], rows.embeddings[step])
    recall = 1.0 if kind == "FLAT" else recall_at_10(collection, rows)
    return replace(database, kind=kind, revision=rows.description.revision, recall_at_10=recall)


def _labels(rows: Rows) -> list[int]:
    numbers = [label_number(label) for label in (*rows.labels, None)]
    return [numbers[code] for code in rows.label_of]


def recall_at_10(collection: Collection, rows: Rows) -> float:
    """The share of the ten exact nearest rows that the database finds too, over `SAMPLE` rows drawn at random."""
    collection.load()
    drawn = np.random.default_rng(0).permutation(len(rows))[:SAMPLE]
    queries = rows.embeddings[drawn]
    answers = collection.search(queries, NEIGHBOURS)
    exact = nearest(queries, rows.embeddings, NEIGHBOURS)
    common = [{id_ for id_, _ in a} & {rows.ids[row] for row, _ in b} for a, b in zip(answers, exact, strict=True)]
    return sum(map(len, common)) / max(1, sum(map(len, exact)))

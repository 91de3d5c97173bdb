"""The database of a gallery brought in step with its table, which alone says what there is."""

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

SAMPLE, NEIGHBOURS = 200, 10  # rows whose neighbours are looked up to measure the recall
STEP = 4096  # rows that are written before the bar moves


def bring_in_step(writer: Writer, options: Mapping[str, Any]) -> Database:
    """Write what the table has and the database lacks, take out what it has no more; then measure its recall.

    One that is made for fewer rows, or that cannot be opened where it is a folder, is made anew. A folder that another
    process has open stays as it is, behind the table, for the next time.
    """
    database, rows = writer.description.database, writer.rows()
    try:
        with connected(writer.folder, database.uri, options) as client:
            found = _follow(client, database, rows)
    except RunError:
        local = writer.folder / LOCAL
        if is_server(database.uri) or not local.is_dir():
            raise
        if is_held(local):
            return database
        shutil.rmtree(local)
        with connected(writer.folder, database.uri, options) as client:
            found = _follow(client, database, rows)
    writer.keep_database(found)
    return found


def _follow(client: Client, database: Database, rows: Rows) -> Database:
    collection = client.collection(database.collection, rows.description.model.dim)
    wanted = dict(zip(rows.ids, _labels(rows), strict=True))
    kind = database.kind
    if kind != kind_for(len(rows)) or not collection.is_there:
        kind = collection.make(len(rows))
        known: dict[str, int] = {}
    else:
        known = collection.labels()
    collection.remove([one for one in known if one not in wanted])
    new = np.array([row for row, (one, label) in enumerate(wanted.items()) if known.get(one) != label], dtype=np.int64)
    steps = [new[start : start + STEP] for start in range(0, len(new), STEP)]
    for some in watched(steps, f"into {client.shown}, {STEP:,} rows each"):
        ids = [rows.ids[row] for row in some]
        collection.put(ids, [wanted[one] for one in ids], rows.embeddings[some])
    recall = 1.0 if kind == "FLAT" else recall_at_10(collection, rows)
    return replace(database, kind=kind, revision=rows.description.revision, recall_at_10=recall)


def _labels(rows: Rows) -> list[int]:
    numbers = [label_number(label) for label in (*rows.labels, None)]
    return [numbers[code] for code in rows.label_of]


def recall_at_10(collection: Collection, rows: Rows) -> float:
    """Of the ten rows nearest to each of some rows, the share that the database finds too."""
    collection.load()
    drawn = np.random.default_rng(0).permutation(len(rows))[:SAMPLE]
    queries = rows.embeddings[drawn]
    found = collection.search(queries, NEIGHBOURS)
    exact = nearest(queries, rows.embeddings, NEIGHBOURS)
    hits = [{one for one, _ in a} & {rows.ids[row] for row, _ in b} for a, b in zip(found, exact, strict=True)]
    return sum(map(len, hits)) / max(1, sum(map(len, exact)))

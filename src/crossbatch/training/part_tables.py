"""The results of every class of a part, and its worst queries, as tables."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from crossbatch import runs
from crossbatch.data.data_set import DataSet
from crossbatch.metrics import by_class, nearest, worst_first
from crossbatch.training.part_search import Searched

WORST_QUERIES = 1000  # at most in the table; the table of classes counts all queries


def write_tables(run: Path, part: str, loaded: DataSet, searched: Searched) -> None:
    """Write a table of the results by class and one of the worst queries with their nearest images; worst first."""
    folder = runs.example_folder(run, part)
    runs.write_table(folder / runs.CLASSES, of_classes(searched, loaded.class_names))
    runs.write_table(folder / runs.WORST, worst_queries(searched, loaded.class_names, loaded.images.name))


def of_classes(searched: Searched, names: Sequence[str]) -> list[dict[str, Any]]:
    """A row for each class, the worst first; `names` of the classes."""
    return [
        {"class": names[label], "queries": queries, "R@1": recall, "R-precision": precision, "MAP@R": mean}
        for label, queries, recall, precision, mean in by_class(searched.measured, searched.query[1])
    ]


def worst_queries(
    searched: Searched, names: Sequence[str], image: Callable[[int], str], most: int = WORST_QUERIES
) -> list[dict[str, Any]]:
    """A row for each of the worst queries, with its nearest image; `names` of classes, `image`: name of an id."""
    query, gallery, measured = searched
    worst = worst_first(measured)[:most]
    places = measured.query_positions[worst]
    embeddings, labels, ids = (column[places] for column in query)
    neighbors = nearest(embeddings, gallery[0], 1, query_ids=ids, gallery_ids=gallery[2])
    near = neighbors.positions[:, 0]
    columns = (ids, labels, measured.best_rank[worst], measured.average_precision[worst], gallery[2][near])
    return [
        {
            "query": image(one),
            "class": names[label],
            "first right at": rank,
            "AP@R": average,
            "nearest": image(nearest_image),
            "its class": names[nearest_label],
            "similarity": similarity,
        }
        for one, label, rank, average, nearest_image, nearest_label, similarity in zip(
            *(column.tolist() for column in columns),
            gallery[1][near].tolist(),
            neighbors.similarities[:, 0].tolist(),
            strict=True,
        )
    ]

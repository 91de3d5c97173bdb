"""The results of every class of a part, and its worst queries, as tables."""

from pathlib import Path

from crossbatch import runs
from crossbatch.data.data_set import DataSet
from crossbatch.metrics import by_class, nearest, worst_first
from crossbatch.training.part_search import Searched

WORST_QUERIES = 1000  # at most in the table; the table of classes counts all queries


def write_tables(run: Path, part: str, loaded: DataSet, searched: Searched) -> None:
    """Write a table of the results by class and one of the worst queries with their nearest images; worst first."""
    query, gallery, measured = searched
    folder = runs.example_folder(run, part)
    classes = [
        {"class": loaded.class_names[label], "queries": queries, "R@1": recall, "R-precision": precision, "MAP@R": mean}
        for label, queries, recall, precision, mean in by_class(measured, query[1])
    ]
    runs.write_table(folder / runs.CLASSES, classes)
    worst = worst_first(measured)[:WORST_QUERIES]
    places = measured.query_positions[worst]
    embeddings, labels, ids = (column[places] for column in query)
    neighbors = nearest(embeddings, gallery[0], 1, query_ids=ids, gallery_ids=gallery[2])
    near = neighbors.positions[:, 0]
    columns = (ids, labels, measured.best_rank[worst], measured.average_precision[worst], gallery[2][near])
    rows = [
        {
            "query": loaded.images.name(image),
            "class": loaded.class_names[label],
            "first right at": rank,
            "AP@R": average,
            "nearest": loaded.images.name(nearest_image),
            "its class": loaded.class_names[nearest_label],
            "similarity": similarity,
        }
        for image, label, rank, average, nearest_image, nearest_label, similarity in zip(
            *(column.tolist() for column in columns),
            gallery[1][near].tolist(),
            neighbors.similarities[:, 0].tolist(),
            strict=True,
        )
    ]
    runs.write_table(folder / runs.WORST, rows)

"""Suspicious labels of a part, as tables and pictures for a person to decide by."""

from pathlib import Path
from typing import Any

import torch

from crossbatch import runs
from crossbatch.data.data_set import DataSet
from crossbatch.metrics.suspects import alike, class_pairs, suspects
from crossbatch.training.part_pictures import card
from crossbatch.training.part_search import Searched

SUSPECTS, CLASS_PAIRS, NEAR_COPIES = "suspects", "class_pairs", "near_copies"


def write_suspects(run: Path, part: str, loaded: DataSet, searched: Searched, most: int) -> dict[str, Any]:
    """Write the first `most` suspects, pairs of classes and near copies; returns them as they are written.

    Queries and gallery are searched together.
    """
    columns = zip(searched.query, searched.gallery, strict=True)
    alone = searched.gallery is searched.query
    embeddings, labels, ids = searched.query if alone else (torch.cat(both) for both in columns)
    rows, suspected = (embeddings, labels, ids), suspects(embeddings, labels, ids)
    folder = runs.example_folder(run, part)
    table, cards = [], []
    for position, label, score in zip(*(column[:most].tolist() for column in suspected[:3]), strict=True):
        image = int(ids[position])
        table.append(
            {
                "image": loaded.images.name(image),
                "label": loaded.class_names[int(labels[position])],
                "neighbours say": loaded.class_names[label],
                "score": score,
            }
        )
        cards.append(card(folder, loaded, image, int(labels[position]), suspected.found, position, rows))
    names = loaded.class_names
    pairs = [
        {"class": names[first], "and": names[second], "among each other": share}
        for first, second, share in class_pairs(labels, suspected.found)[:most]
    ]
    copies = [
        {
            "image": loaded.images.name(int(ids[first])),
            "and": loaded.images.name(int(ids[second])),
            "label": names[int(labels[first])],
            "other label": names[int(labels[second])],
            "similarity": similarity,
        }
        for first, second, similarity in alike(suspected.found)[:most]
    ]
    kept = {SUSPECTS: table, CLASS_PAIRS: pairs, NEAR_COPIES: copies}
    for name, lines in kept.items():
        (folder / f"{name}.csv").unlink(missing_ok=True)  # left by an earlier look
        if lines:
            runs.write_table(folder / f"{name}.csv", lines)
    runs.write_json(folder / f"{SUSPECTS}.json", cards)
    return kept

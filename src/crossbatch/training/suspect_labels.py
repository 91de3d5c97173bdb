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
    """Find and keep the first `most` suspects, pairs of classes and near copies; returns them as they are kept.

    Queries and gallery are looked at together.
    """
    columns = zip(searched.query, searched.gallery, strict=True)
    alone = searched.gallery is searched.query
    embeddings, labels, ids = searched.query if alone else (torch.cat(both) for both in columns)
    rows, found = (embeddings, labels, ids), suspects(embeddings, labels, ids)
    folder = runs.example_folder(run, part)
    table, cards = [], []
    for position, label, score in zip(*(one[:most].tolist() for one in found[:3]), strict=True):
        image = int(ids[position])
        table.append(
            {
                "image": loaded.images.name(image),
                "label": loaded.class_names[int(labels[position])],
                "neighbours say": loaded.class_names[label],
                "score": score,
            }
        )
        cards.append(card(folder, loaded, image, int(labels[position]), found.found, position, rows))
    names = loaded.class_names
    pairs = [
        {"class": names[one], "and": names[other], "among each other": share}
        for one, other, share in class_pairs(labels, found.found)[:most]
    ]
    copies = [
        {
            "image": loaded.images.name(int(ids[one])),
            "and": loaded.images.name(int(ids[other])),
            "label": names[int(labels[one])],
            "other label": names[int(labels[other])],
            "similarity": similarity,
        }
        for one, other, similarity in alike(found.found)[:most]
    ]
    kept = {SUSPECTS: table, CLASS_PAIRS: pairs, NEAR_COPIES: copies}
    for name, lines in kept.items():
        (folder / f"{name}.csv").unlink(missing_ok=True)  # of an earlier look
        if lines:
            runs.write_table(folder / f"{name}.csv", lines)
    runs.write_json(folder / f"{SUSPECTS}.json", cards)
    return kept

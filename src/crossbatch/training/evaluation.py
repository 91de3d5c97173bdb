"""Evaluation of a part of the data set with the model of a run: metrics in a log, with pictures and tables."""

import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from crossbatch import runs
from crossbatch.data.data_set import DataSet
from crossbatch.metrics import effective_dimensions, evaluate
from crossbatch.metrics.retrieval import refuse_ks
from crossbatch.models import checkpoint
from crossbatch.training.part_pictures import write_examples
from crossbatch.training.part_search import Searched, search_run
from crossbatch.training.part_tables import write_tables
from crossbatch.training.suspect_labels import write_suspects


def evaluate_run(
    run: Path,
    loaded: DataSet,
    part: str,
    ks: Sequence[int] = (),
    suspects: int = 0,
    before: dict[str, float] | None = None,
) -> dict[str, Any]:
    """Search a part with the model of a run; log the look in the run folder, and write examples and tables beside it.

    `ks`: the K of Recall@K beside 1; by default those of the data set. `suspects`: how many suspicious labels, pairs of
    classes and near copies to list, if any. `before`: metrics of the weights before training, where they are known;
    else they are measured once for each part, if the run has kept these weights.
    """
    if ks:
        refuse_ks(ks)
    ks = sorted({1, *(ks or loaded.ks)})
    runs.require_data(run, loaded.outline, "train anew, or measure on any images with --on")
    began = time.perf_counter()
    searched = search_run(run, loaded, part, ks)
    before = before or _before_training(run, loaded, part, ks)
    entry = {
        "part": part,
        "data": loaded.name,
        "fingerprint": loaded.fingerprint,
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
        **searched.measured.summary(),
        "effective_dimensions": effective_dimensions(searched.query[0]),
        "cut": _cut(searched, checkpoint.described(run).dims, ks),
        "before_training": before,
        "queries": searched.measured.queries,
        "left_out": searched.measured.left_out,
        "classes_left_out": _left_out(searched, loaded),
        "alone": loaded.searches[part].gallery is None,
        "notes": [*loaded.notes, *_of_refit(run, part)],
        "gallery": len(searched.gallery[1]),
        "classes": loaded.searches[part].query.classes,
        "seconds": round(time.perf_counter() - began, 2),
    }
    entry["look"] = runs.add_evaluation(run, entry)
    write_examples(run, part, loaded, searched)
    write_tables(run, part, loaded, searched)
    return entry | (write_suspects(run, part, loaded, searched, suspects) if suspects else {})


def _of_refit(run: Path, part: str) -> list[str]:
    refit = part == "validation" and runs.read_config(run).get("refit")
    told = "the model was trained on the validation classes (--refit): R@1 there is not that of unseen classes"
    return [told] if refit else []


def _cut(searched: Searched, dims: Sequence[int], ks: Sequence[int]) -> dict[str, dict[str, float]]:
    """Metrics of embeddings cut off at each length that the model was trained for, except the full length."""
    (query, *of_query), (gallery, *of_gallery) = searched.query, searched.gallery
    measured = {
        n: evaluate(query[:, :n], of_query[0], of_query[1], gallery[:, :n], of_gallery[0], of_gallery[1], ks=ks)
        for n in dims[:-1]
    }
    return {str(length): retrieval.summary() for length, retrieval in measured.items()}


def _before_training(run: Path, loaded: DataSet, part: str, ks: Sequence[int]) -> dict[str, float] | None:
    """Metrics of the weights before training, from an earlier look if possible; None if these weights are gone."""
    if not (run / runs.START).is_file():
        return None
    entries = runs.read_evaluations(run)
    known = (entry.get("before_training") for entry in entries if entry["part"] == part)
    for before in known:
        if before and all(f"R@{k}" in before for k in ks):
            return dict(before)
    searched = search_run(run, loaded, part, ks, runs.START)
    return {**searched.measured.summary(), "effective_dimensions": effective_dimensions(searched.query[0])}


def _left_out(searched: Searched, loaded: DataSet) -> list[str]:
    """Names of the classes whose queries have no positive: not in the gallery, or with one image in their part."""
    labels = searched.query[1]
    left_out = torch.ones(len(labels), dtype=torch.bool)
    left_out[searched.measured.query_positions] = False
    return [loaded.class_names[label] for label in labels[left_out].unique().tolist()]

"""A folder in the layout of model hubs: weights, one JSON, a model card."""

from pathlib import Path
from typing import Any

import torch
import yaml

from crossbatch import durable, runs
from crossbatch.data import called
from crossbatch.errors import RunError
from crossbatch.models import checkpoint
from crossbatch.models.checkpoint import CARD, CONFIG, WEIGHTS, Description

PRIVATE = ("root", "fonts", "weights")  # options with paths on the user's machine; only file names are shared


def write(folder: Path, network: torch.nn.Module, description: Description, source: Path) -> Path:
    """Write the three files; the card is made from a run folder, or copied if the source has one."""
    others = sorted({file.name for file in folder.iterdir()} - {WEIGHTS, CONFIG, CARD}) if folder.is_dir() else []
    if others or (folder.exists() and not folder.is_dir()):
        problem = f"holds other files, such as {others[0]}" if others else "is a file"
        raise RunError(f"{folder} {problem}: name a new folder, or one that a model was saved to")
    card_text = None  # made before anything is written, since a damaged run is refused
    if (source / runs.CONFIG).is_file():
        card_text = card(source, description)
    elif (source / CARD).is_file() and source.resolve() != folder.resolve():
        card_text = (source / CARD).read_text(encoding="utf-8")
    folder.mkdir(parents=True, exist_ok=True)
    checkpoint.save(folder, network, description, CONFIG)  # type: ignore[arg-type]  # it has the state of an embedder
    if card_text is not None:
        durable.write_text(folder / CARD, card_text)
    return folder


def card(run: Path, description: Description) -> str:
    """The model card of a run: metadata for hubs, the model, its data, metrics, settings and versions."""
    summary = runs.read_summary(run) if (run / runs.SUMMARY).is_file() else {}
    evaluations = runs.read_evaluations(run)
    options, decided = runs.read_config(run), runs.read_decided(run)
    data = runs.read_json(run / runs.DATA) if (run / runs.DATA).is_file() else {"name": options.get("data")}
    data["name"] = called(str(data["name"]), options.get("root"))  # the folder's own name, without the path to it
    parts = [
        f"---\n{yaml.safe_dump(_metadata(run.name, data, evaluations), sort_keys=False, allow_unicode=True)}---\n",
        f"# {run.name}\n",
        _what_it_is(description, summary),
        f"## Data\n\n`{data.get('name')}`, fingerprint `{data.get('fingerprint', 'unknown')}`; "
        f"{summary.get('training_classes', len(description.class_names)):,} training classes.\n"
        "Metrics are Recall@K and MAP@R: each query searches all other images of its part, or the gallery where there "
        "is one. Unless the data set says otherwise, classes of the test part were not trained on.\n",
        _metrics(summary, evaluations),
        "## Settings\n\n```yaml\n"
        + yaml.safe_dump(_shareable(options), sort_keys=False, allow_unicode=True)
        + "```\n"
        + "".join(f"\n`{option}`: {reason}.\n" for option, reason in decided.items()),
        "## Versions\n\n"
        + ", ".join(f"{tool} {number}" for tool, number in summary.get("versions", {}).items())
        + "\n",
    ]
    return "\n".join(parts)


def _what_it_is(description: Description, summary: dict[str, Any]) -> str:
    size = description.preprocessing.get("size")
    high, wide = (size, size) if isinstance(size, int) else tuple(size or ("?", "?"))
    rows = summary.get("memory_rows")
    trained = f" with a cross-batch memory of {rows:,} rows" if rows else ""
    return (
        f"An image embedding model: `{description.backbone}`, {wide}×{high} pixels in, {description.dim} numbers of "
        f"length 1 out. Similar images have a high cosine. Trained by crossbatch{trained}"
        + (f", loss `{summary['loss']}`" if "loss" in summary else "")
        + (f", {summary['steps']:,} steps" if "steps" in summary else "")
        + '.\n\n```python\nimport crossbatch\n\nmodel = crossbatch.load("path/to/this/folder")\n'
        'rows = model.embed(["a.jpg", "b.jpg"])\nsimilarity = rows[0] @ rows[1]\n```\n'
    )


def _metrics(summary: dict[str, Any], looks: list[dict[str, Any]]) -> str:
    """Metrics before and after training: of validation, and of the last evaluation of each part."""
    rows = []
    before = (summary.get("before_training") or {}).get("validation R@1")
    if summary.get("best_validation_R@1") is not None:
        rows.append(("validation", "R@1", before, summary["best_validation_R@1"]))
    for look in _last_evaluations(looks).values():
        earlier = look.get("before_training") or {}
        names = [name for name in look if name.startswith("R@") or name == "MAP@R"]
        rows += [
            (f"{look['part']} ({look['queries']:,} queries)", name, earlier.get(name), look[name]) for name in names
        ]
    if not rows:
        return "## Metrics\n\nNone were measured.\n"
    lines = [
        f"| {part} | {name} | {'–' if start is None else f'{start:.4f}'} | {end:.4f} |"
        for part, name, start, end in rows
    ]
    return "## Metrics\n\n| part | metric | before training | after |\n|---|---|---:|---:|\n" + "\n".join(lines) + "\n"


def _last_evaluations(looks: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {look["part"]: look for look in looks}


def _metadata(name: str, data: dict[str, Any], looks: list[dict[str, Any]]) -> dict[str, Any]:
    metadata: dict[str, Any] = {
        "library_name": "crossbatch",
        "pipeline_tag": "image-feature-extraction",
        "tags": ["image-retrieval", "metric-learning", "embeddings"],
    }
    results = [
        {
            "task": {"type": "image-retrieval"},
            "dataset": {"name": data.get("name"), "type": str(data.get("name")), "split": part},
            "metrics": [
                {"type": metric, "value": round(look[metric], 4)}
                for metric in look
                if metric.startswith("R@") or metric == "MAP@R"
            ],
        }
        for part, look in _last_evaluations(looks).items()
    ]
    return metadata | ({"model-index": [{"name": name, "results": results}]} if results else {})


def _shareable(options: dict[str, Any]) -> dict[str, Any]:
    """Options with each path of the user's machine cut to its last part."""

    def shown(name: str, value: Any) -> Any:
        if isinstance(value, dict):
            return {key: shown(key, inner) for key, inner in value.items()}
        if name in PRIVATE and isinstance(value, list):
            return [Path(str(path)).name for path in value]
        return Path(str(value)).name if name in PRIVATE and value else value

    return {name: shown(name, value) for name, value in options.items()}

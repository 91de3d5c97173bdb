"""The run folder: what a run leaves, under which names, and how to read it. No Lightning, no plots.

config.yaml          every option, resolved; `--config` takes it back
data.json            which data set it was: its name and fingerprint
model.safetensors    the best model (see `models/checkpoint.py`), with model.json beside it
summary.json         what the run came to: validation metrics, counts, seconds, versions
augmented.png        what the network sees: images as in evaluation, and as training shows them
drift.csv            how far embeddings moved, a row a step, meter and age
evaluations.json     every look at a part, one entry each, so that looks at test can be counted
examples/PART/       queries and their nearest neighbours, as JSON and thumbnails; classes.csv, worst.csv
checkpoints/         last.ckpt to go on from, previous.ckpt before it, best.ckpt, hashes.json with what was written, and
                     start.safetensors, the weights before training
circumstances.json   with which code, versions, data and options it was trained last
lock                 held by the process that writes to the folder (see `training/lock.py`)
diverged.json        where the loss was not finite: the step, and the files of its batch
logs/csv/*/metrics.csv, logs/tensorboard/
"""

import csv
import io
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from crossbatch import durable
from crossbatch.errors import RunError
from crossbatch.locks import locked
from crossbatch.typed import typed

CONFIG, DATA, SUMMARY = "config.yaml", "data.json", "summary.json"
DRIFT, DRIFT_FIGURE = "drift.csv", "drift.svg"
EVALUATIONS, COMPARISON = "evaluations.json", "comparison.json"
SEARCH, JOURNAL, TUNING, BEST_RECIPE = "search.json", "journal.log", "tuning.json", "best.yaml"
EXAMPLES, CLASSES, WORST = "examples", "classes.csv", "worst.csv"
CHECKPOINTS, LAST, PREVIOUS, BEST = "checkpoints", "last", "previous", "best"
START = "checkpoints/start.safetensors"
LOGS = "logs"
REPORT, AUGMENTED = "report.html", "augmented.png"
CIRCUMSTANCES, DIVERGED, LOCK = "circumstances.json", "diverged.json", "lock"
FORMAT = 1  # of config.yaml and of every JSON file
ALIASES = 20  # of a YAML file


def create(out: Path, config: dict[str, Any], data: dict[str, str], decided: Mapping[str, str] | None = None) -> None:
    """Make a run folder for a data set of this name and fingerprint; refuse one that holds anything.

    `decided`: why options that were left open are as they are.
    """
    refuse_used(out)
    out.mkdir(parents=True, exist_ok=True)
    write_json(out / DATA, data)
    write_config(out, config, decided)


def write_config(run: Path, config: dict[str, Any], decided: Mapping[str, str] | None = None) -> None:
    """Write every option of a run, and the reasons of those that were decided."""
    write_options(run / CONFIG, {"decided": dict(decided or {}), **config})


def require_data(run: Path, data: dict[str, str]) -> None:
    """Refuse another data set than the run's: its classes would be divided anew, test among training."""
    before = read_json(run / DATA)
    if before != data:
        raise RunError(
            f"{run} was trained on {_named(before)}, and the data set is now {_named(data)}: "
            "bring the data set back as it was, say where it is with --root, or train anew"
        )


def _named(data: dict[str, str]) -> str:
    return f"{data.get('name')} with fingerprint {data.get('fingerprint')}"


def is_finished(run: Path) -> bool:
    """Whether a run came to its end, rather than being stopped, killed or never begun."""
    return (run / SUMMARY).is_file() and not read_summary(run).get("interrupted", False)


def has_checkpoint(run: Path) -> bool:
    """Whether something was trained that can be gone on from."""
    return any((run / CHECKPOINTS / f"{name}.ckpt").is_file() for name in (LAST, PREVIOUS))


def is_begun(run: Path) -> bool:
    """Whether a run can be gone on with: from a checkpoint, or from the weights before training."""
    return (run / CONFIG).is_file() and (has_checkpoint(run) or (run / START).is_file())


def is_comparison(out: Path, config: dict[str, Any]) -> bool:
    """Whether a folder holds a comparison of these very options, finished or not."""
    return (out / CONFIG).is_file() and not (out / CHECKPOINTS).exists() and read_config(out) == config


def refuse_several(folder: Path) -> None:
    """Refuse the folder of a comparison or of a search where that of one run is wanted."""
    if (folder / CHECKPOINTS).exists():
        return
    if (folder / COMPARISON).is_file():
        first = read_json(folder / COMPARISON)["arms"][-1]["runs"][0]
        raise RunError(f"{folder} is a comparison, which holds several runs: name one, as {typed(folder / first)}")
    if (folder / SEARCH).is_file():
        best = typed(folder / BEST_RECIPE)
        raise RunError(f"{folder} is a search for settings and no run: crossbatch train ROOT --config {best} makes one")


def refuse_used(out: Path) -> None:
    """Refuse a folder that holds anything: a run never writes over another."""
    if out.exists() and not out.is_dir():
        raise RunError(f"{out} is a file: name a folder with --out")
    if out.exists() and any(one.name != LOCK for one in out.iterdir()):
        raise RunError(f"{out} is not empty: name another --out, {_way_on(out)}or remove it")


def _way_on(out: Path) -> str:
    """What can be done with a folder by what it holds; nothing where it is not one of ours."""
    folder = typed(out)
    if (out / COMPARISON).is_file():
        return f"see the comparison that it holds with crossbatch report {folder}, "
    if is_begun(out):
        return f"go on with train --resume {folder}, "
    for command, file in {"tune": SEARCH, "compare": CONFIG}.items():
        if (out / file).is_file() and not (out / CHECKPOINTS).exists():
            return f"go on with crossbatch {command} --out {folder} and the options that it began with, "
    return ""


def write_options(path: Path, options: Mapping[str, Any]) -> None:
    """Write options as YAML, whole, with the format they have."""
    durable.write_text(path, yaml.safe_dump({"format": FORMAT, **options}, sort_keys=False, allow_unicode=True))


def write_json(path: Path, value: Any) -> None:
    """Write JSON, whole, with the format it has; a list becomes its `rows`."""
    contents = value if isinstance(value, dict) else {"rows": value}
    durable.write_text(path, json.dumps({"format": FORMAT, **contents}, indent=1, ensure_ascii=False) + "\n")


def write_table(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write a CSV whole, its columns those of the first row; numbers to six digits."""
    text = io.StringIO()
    table = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    table.writeheader()
    for row in rows:
        table.writerow({name: f"{value:.6g}" if isinstance(value, float) else value for name, value in row.items()})
    durable.write_text(path, text.getvalue())


def read_table(path: Path) -> list[dict[str, str]]:
    """Rows of a CSV that `write_table` wrote."""
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def read_json(path: Path) -> Any:
    """Read JSON that `write_json` wrote."""
    try:
        contents = _of_this_format(path, json.loads(path.read_text(encoding="utf-8")))
        return contents["rows"] if isinstance(contents, dict) and set(contents) == {"rows"} else contents
    except FileNotFoundError as error:
        raise RunError(f"{path.parent} is not a finished run: {path.name} is missing") from error
    except (OSError, ValueError, RecursionError) as error:
        raise RunError(f"{path} cannot be read ({error})") from error


def read_summary(run: Path) -> dict[str, Any]:
    """What a finished run, or one that was stopped in order, says of itself."""
    summary = read_json(run / SUMMARY)
    if not isinstance(summary, dict):
        raise RunError(f"{run / SUMMARY} is damaged: it holds a {type(summary).__name__}, not a summary")
    return summary


class _FewAliases(yaml.SafeLoader):
    """YAML whose aliases, of aliases, cannot grow a small file into gigabytes."""

    aliases = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        """Count them."""
        self.aliases += self.check_event(yaml.AliasEvent)
        if self.aliases > ALIASES:
            raise yaml.YAMLError(f"it has more than {ALIASES} aliases")
        return super().compose_node(parent, index)


def read_config(run: Path) -> dict[str, Any]:
    """The options of a run."""
    return _without_reasons(_of_run(run))


def read_decided(run: Path) -> dict[str, str]:
    """Why options that were left open are as they are, by option."""
    return dict(_of_run(run).get("decided") or {})


def read_options(path: Path) -> dict[str, Any]:
    """Options in YAML, as those of a run."""
    return _without_reasons(_parsed(path))


def _of_run(run: Path) -> dict[str, Any]:
    if not (run / CONFIG).is_file():
        raise RunError(f"{run} is not a run folder: {CONFIG} is missing")
    return _parsed(run / CONFIG)


def _without_reasons(options: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in options.items() if name != "decided"}


def _parsed(path: Path) -> dict[str, Any]:
    try:
        options = yaml.load(path.read_text(encoding="utf-8"), _FewAliases)  # noqa: S506  (a safe loader)
    except OSError as error:
        raise RunError(f"the options in {path} cannot be read ({error.strerror})") from error
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise RunError(f"{path} cannot be read ({str(error).splitlines()[0]})") from error
    if not isinstance(options, dict):
        raise RunError(f"{path} holds no options")
    return dict(_of_this_format(path, options))


def _of_this_format(path: Path, contents: Any) -> Any:
    """The contents without their format, if it is one that is known."""
    found = contents.pop("format", FORMAT) if isinstance(contents, dict) else FORMAT
    if found != FORMAT:
        raise RunError(f"{path} has format {found} and this version reads {FORMAT}: use the version that wrote it")
    return contents


def read_metrics(run: Path) -> dict[str, list[tuple[int, float]]]:
    """Every logged quantity as (step, value), of all sittings of the run; a later sitting overrides an earlier."""
    table: dict[str, dict[int, float]] = {}
    for path in sorted((run / LOGS / "csv").glob("*/metrics.csv")):
        with path.open(newline="", encoding="utf-8") as file:
            for row in csv.DictReader(file):
                if None in row or None in row.values():
                    continue  # a line cut off when the run was killed
                for name, text in row.items():
                    if text and name not in ("step", "epoch") and math.isfinite(float(text)):
                        table.setdefault(name, {})[int(row["step"])] = float(text)
    return {name: sorted(values.items()) for name, values in table.items()}


def read_evaluations(run: Path) -> list[dict[str, Any]]:
    """Every look at a part so far."""
    path = run / EVALUATIONS
    entries = read_json(path) if path.is_file() else []
    if not isinstance(entries, list) or not all(isinstance(one, dict) and "part" in one for one in entries):
        raise RunError(f"{path} is no list of looks at parts: copy it again, or remove it")
    return entries


def is_metric(name: str) -> bool:
    """Whether a table shows this key of an evaluation: Recall@K, R-precision and MAP@R."""
    return name.startswith("R@") or name in ("R-precision", "MAP@R")


def add_evaluation(run: Path, entry: dict[str, Any]) -> int:
    """Log a look at a part; returns which look at that part it was."""
    with locked(run / f"{EVALUATIONS}.lock", "evaluate again", wait=10):
        entries = read_evaluations(run)
        look: int = 1 + sum(earlier["part"] == entry["part"] for earlier in entries)
        write_json(run / EVALUATIONS, [*entries, {**entry, "look": look}])
    return look


def example_folder(run: Path, part: str) -> Path:
    """Where the examples of a part are; made if it is not there."""
    folder = run / EXAMPLES / part
    folder.mkdir(parents=True, exist_ok=True)
    return folder

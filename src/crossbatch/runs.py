"""The run folder: names of the files that a run leaves, and functions to write and read them, without Lightning.

config.yaml          every option, resolved; `--config` accepts the file
data.json            name and fingerprint of the data set, and its numbers of images and classes
model.safetensors    the best model (see `models/checkpoint.py`), with model.json beside it
summary.json         results of the run: validation metrics, counts, seconds, versions
augmented.png        images as the network sees them, in evaluation and in training
drift.csv            how far embeddings moved: one row for each step, meter and age
evaluations.json     one entry for each evaluation of a part, so that evaluations on test can be counted
examples/PART/       queries and their nearest neighbours, as JSON and thumbnails; classes.csv, worst.csv
checkpoints/         last.ckpt to resume from, previous.ckpt before it, best.ckpt, hashes.json of these files, and
                     start.safetensors, the weights before training
circumstances.json   code, versions, data and options of the last training
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

from crossbatch import durable, own_folders
from crossbatch.errors import RunError
from crossbatch.locks import holder, locked
from crossbatch.typed import typed

CONFIG, DATA, SUMMARY = own_folders.CONFIG, own_folders.DATA, "summary.json"
DRIFT, DRIFT_FIGURE = "drift.csv", "drift.svg"
EVALUATIONS, COMPARISON = "evaluations.json", own_folders.COMPARISON
SEARCH, JOURNAL, TUNING, BEST_RECIPE = own_folders.SEARCH, "journal.log", "tuning.json", "best.yaml"
RACE = "race.json"
EXAMPLES, CLASSES, WORST = "examples", "classes.csv", "worst.csv"
CHECKPOINTS, LAST, PREVIOUS, BEST = "checkpoints", "last", "previous", "best"
START = "checkpoints/start.safetensors"
LOGS = "logs"
REPORT, AUGMENTED = "report.html", "augmented.png"
CIRCUMSTANCES, DIVERGED, LOCK = own_folders.CIRCUMSTANCES, "diverged.json", own_folders.LOCK
FORMAT = 1  # of config.yaml and of every JSON file
ALIASES = 20  # most aliases that a YAML file may have


def create(
    out: Path,
    config: dict[str, Any],
    data: Mapping[str, Any],
    decided: Mapping[str, str] | None = None,
    race: Mapping[str, Any] | None = None,
) -> None:
    """Create a run folder for a data set with a name and fingerprint; `refuse_used` comes first.

    `decided`: reasons for the values of options that the user left open, by option. `race`: for a comparison, what
    short runs decided, and the options before it.
    """
    out.mkdir(parents=True, exist_ok=True)
    write_json(out / DATA, dict(data))
    if race is not None:
        write_json(out / RACE, dict(race))
    write_config(out, config, decided)


def write_config(run: Path, config: dict[str, Any], decided: Mapping[str, str] | None = None) -> None:
    """Write every option of a run, and the reasons for the options in `decided`."""
    write_options(run / CONFIG, {"decided": dict(decided or {}), **config})


def require_data(run: Path, data: Mapping[str, Any], way_out: str = "or train anew") -> None:
    """Refuse a data set other than the run's: its classes would be split anew, and test classes could be trained on.

    `way_out`: the last of the ways out that the error names.
    """
    before = read_json(run / DATA)
    if any(before.get(name) != data[name] for name in ("name", "fingerprint")):
        raise RunError(
            f"{run} was trained on {_named(before)}, and the data set is now {_named(data)}: "
            f"bring the data set back as it was, say where it is with --root, {way_out}"
        )


def _named(data: Mapping[str, Any]) -> str:
    counts = [f"{data[what]:,} {what}" for what in ("images", "classes") if what in data]
    counted = f" ({', '.join(counts)})" if counts else ""
    return f"{data.get('name')} with fingerprint {data.get('fingerprint')}{counted}"


def is_finished(run: Path) -> bool:
    """Whether a run reached its end; not if it was stopped, killed or never started."""
    return (run / SUMMARY).is_file() and not read_summary(run).get("interrupted", False)


def has_checkpoint(run: Path) -> bool:
    """Whether a checkpoint exists to resume from."""
    return any((run / CHECKPOINTS / f"{name}.ckpt").is_file() for name in (LAST, PREVIOUS))


def is_begun(run: Path) -> bool:
    """Whether a run can be resumed, from a checkpoint or from the weights before training."""
    return (run / CONFIG).is_file() and (has_checkpoint(run) or (run / START).is_file())


def is_comparison(out: Path, config: dict[str, Any]) -> bool:
    """Whether a folder holds a comparison with exactly these options, as they were before a race; finished or not."""
    if not (out / CONFIG).is_file() or (out / CHECKPOINTS).exists():
        return False
    return bool((read_json(out / RACE)["unraced"] if (out / RACE).is_file() else read_config(out)) == config)


def read_race(out: Path) -> dict[str, Any]:
    """Read what short runs decided for a comparison."""
    race = read_json(out / RACE) if (out / RACE).is_file() else {}
    return {name: race[name] for name in ("values", "results") if name in race}


def refuse_several(folder: Path) -> None:
    """Refuse the folder of a comparison or a search for settings where the folder of one run is needed."""
    if (folder / CHECKPOINTS).exists():
        return
    if (folder / COMPARISON).is_file():
        first = read_json(folder / COMPARISON)["arms"][-1]["runs"][0]
        raise RunError(f"{folder} is a comparison, which holds several runs: name one, as {typed(folder / first)}")
    if (folder / SEARCH).is_file():
        best = typed(folder / BEST_RECIPE)
        raise RunError(f"{folder} is a search for settings and no run: crossbatch train ROOT --config {best} makes one")


def refuse_used(out: Path) -> None:
    """Refuse a folder that is not empty: a run never overwrites another."""
    if out.exists() and not out.is_dir():
        raise RunError(f"{out} is a file: name a folder with --out")
    if process := holder(out / LOCK):
        raise RunError(f"{out} is in use by process {process}: wait for its end, or name another --out")
    if out.exists() and any(entry.name != LOCK for entry in out.iterdir()):
        raise RunError(f"{out} is not empty: name another --out, {_way_on(out)}or remove it")


def _way_on(out: Path) -> str:
    """Suggest a command for a folder that holds a run, comparison or search; empty for any other folder."""
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
    """Write options as YAML, with the format number; the file is replaced whole."""
    durable.write_text(path, yaml.safe_dump({"format": FORMAT, **options}, sort_keys=False, allow_unicode=True))


def write_json(path: Path, value: Any) -> None:
    """Write JSON, with the format number; the file is replaced whole. A list is stored under `rows`."""
    contents = value if isinstance(value, dict) else {"rows": value}
    durable.write_text(path, json.dumps({"format": FORMAT, **contents}, indent=1, ensure_ascii=False) + "\n")


def write_table(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write a CSV file with the columns of the first row, floats to six digits; the file is replaced whole."""
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
    """Read the summary of a run that finished or was stopped in order."""
    summary = read_json(run / SUMMARY)
    if not isinstance(summary, dict):
        raise RunError(f"{run / SUMMARY} is damaged: it holds a {type(summary).__name__}, not a summary")
    return summary


class _FewAliases(yaml.SafeLoader):
    """Safe YAML loader with a limit on aliases: nested aliases can expand a small file to gigabytes."""

    aliases = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        """Count the aliases, and refuse too many."""
        self.aliases += self.check_event(yaml.AliasEvent)
        if self.aliases > ALIASES:
            raise yaml.YAMLError(f"it has more than {ALIASES} aliases")
        return super().compose_node(parent, index)


def read_config(run: Path) -> dict[str, Any]:
    """Read the options of a run."""
    return _without_reasons(_of_run(run))


def read_decided(run: Path) -> dict[str, str]:
    """Read the reasons for options that the user left open, by option."""
    return dict(_of_run(run).get("decided") or {})


def read_options(path: Path) -> dict[str, Any]:
    """Read options from a YAML file in the format of a run's `config.yaml`."""
    return _without_reasons(_parsed(path))


def _of_run(run: Path) -> dict[str, Any]:
    if not run.exists():
        raise RunError(f"there is no run folder {run}: check its name")
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
        raise RunError(f"{path} cannot be read ({_fault(error)})") from error
    if not isinstance(options, dict):
        raise RunError(f"{path} holds no options")
    return dict(_of_this_format(path, options))


def _fault(error: Exception) -> str:
    """The problem of a YAML file, with its line if the reader tells it."""
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark:
        return f"line {error.problem_mark.line + 1} is not YAML: {error.problem}"
    return str(error).splitlines()[0]


def _of_this_format(path: Path, contents: Any) -> Any:
    """Return the contents without their format number; refuse another format."""
    saved = contents.pop("format", FORMAT) if isinstance(contents, dict) else FORMAT
    if saved != FORMAT:
        raise RunError(f"{path} has format {saved} and this version reads {FORMAT}: use the version that wrote it")
    return contents


def read_metrics(run: Path) -> dict[str, list[tuple[int, float]]]:
    """Read every logged quantity as (step, value). A run that was resumed has several logs; the latest one wins."""
    table: dict[str, dict[int, float]] = {}
    for path in sorted((run / LOGS / "csv").glob("*/metrics.csv")):
        with path.open(newline="", encoding="utf-8") as file:
            for row in csv.DictReader(file):
                if None in row or None in row.values():
                    continue  # the line was cut off when the run was killed
                for name, text in row.items():
                    if text and name not in ("step", "epoch") and math.isfinite(float(text)):
                        table.setdefault(name, {})[int(row["step"])] = float(text)
    return {name: sorted(values.items()) for name, values in table.items()}


def read_evaluations(run: Path) -> list[dict[str, Any]]:
    """Read the entries of all evaluations of the run so far."""
    path = run / EVALUATIONS
    entries = read_json(path) if path.is_file() else []
    if not isinstance(entries, list) or not all(isinstance(entry, dict) and "part" in entry for entry in entries):
        raise RunError(f"{path} is not a list of evaluations: copy it again, or remove it")
    return entries


def is_metric(name: str) -> bool:
    """Whether tables show this key of an evaluation: Recall@K, R-precision or MAP@R."""
    return name.startswith("R@") or name in ("R-precision", "MAP@R")


def add_evaluation(run: Path, entry: dict[str, Any]) -> int:
    """Add an evaluation of a part to the log; return its number among the evaluations of that part."""
    with locked(run / f"{EVALUATIONS}.lock", "evaluate again", wait=10):
        entries = read_evaluations(run)
        look: int = 1 + sum(earlier["part"] == entry["part"] for earlier in entries)
        write_json(run / EVALUATIONS, [*entries, {**entry, "look": look}])
    return look


def example_folder(run: Path, part: str) -> Path:
    """Folder of the examples of a part; created if it does not exist."""
    folder = run / EXAMPLES / part
    folder.mkdir(parents=True, exist_ok=True)
    return folder

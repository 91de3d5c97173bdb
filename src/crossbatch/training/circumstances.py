"""What a run is trained with: code, versions, data and options; and what of it has changed when it goes on."""

import hashlib
import inspect
import platform
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from crossbatch import runs
from crossbatch.data import DATA_SETS
from crossbatch.errors import RunError, SettingError
from crossbatch.imported import imported
from crossbatch.processes import started_rank
from crossbatch.training.run_parts import RunParts
from crossbatch.training.settings import Settings

PACKAGES = ("crossbatch", "torch", "torchvision", "timm", "lightning")
# Where the data lies, what weights it began from (it has its own now), and how many processes read: none is of the run.
FREE = ("root", "model.pretrained", "model.weights", "loop.workers")


def versions() -> dict[str, str]:
    """Of the packages that decide what a step computes."""
    return {name: version(name) for name in PACKAGES}


def circumstances(parts: RunParts) -> dict[str, Any]:
    """All that is compared, by kind and name."""
    return {
        "version": {**versions(), "python": platform.python_version()},
        "code": _code(parts.settings),
        "data": parts.data.identity,
        "option": flat(parts.settings.as_dict()),
    }


def changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """What is not as it was, in words; what was not written down then is not compared."""
    told = []
    for kind, values in now.items():
        earlier = before.get(kind)
        for name, value in values.items():
            if not isinstance(earlier, Mapping) or name not in earlier or (kind == "option" and name in FREE):
                continue
            if earlier[name] != value:
                told.append(f"{kind} {name} ({_short(earlier[name])} → {_short(value)})")
    return told


def accept(run: Path, parts: RunParts, *, force: bool) -> list[str]:
    """Refuse to go on under changed circumstances, unless forced; returns the changes, and keeps what is now true."""
    now, before = circumstances(parts), {"data": runs.read_json(run / runs.DATA)}
    if (run / runs.CIRCUMSTANCES).is_file():
        kept = runs.read_json(run / runs.CIRCUMSTANCES)
        before |= kept if isinstance(kept, dict) else {}
    told = changes(before, now)
    if told and not force:
        raise RunError(
            f"{run} goes on as it began, and since then this has changed: {', '.join(told)}: bring it back as it was, "
            "add --force to go on all the same, or start anew from its model with --init"
        )
    if started_rank() > 0:
        return told
    if told:
        runs.write_json(run / runs.DATA, parts.data.identity)
        runs.write_config(run, parts.settings.as_dict(), runs.read_decided(run))
    runs.write_json(run / runs.CIRCUMSTANCES, now)
    return told


def with_given(kept: Settings, given: Settings) -> Settings:
    """The options of a run, with those that were given beside --resume: what differs from the defaults."""
    plain, by_default = flat(given.as_dict()), flat(Settings(root=given.root, data=given.data).as_dict())
    merged = kept.as_dict()
    for name, value in plain.items():
        if value != by_default.get(name):
            place, (*groups, last) = merged, name.split(".")
            for group in groups:
                place = place[group]
            place[last] = value
    if given.root is not None:
        merged["root"] = str(given.root.absolute())
    return Settings.from_dict(merged)


def flat(options: Mapping[str, Any], above: str = "") -> dict[str, Any]:
    """Options by their names on the command line; those of a loss stay together, its class may change."""
    found: dict[str, Any] = {}
    for name, value in options.items():
        inner = isinstance(value, dict) and name != "init_args"
        found |= flat(value, f"{above}{name}.") if inner else {f"{above}{name}": value}
    return found


def _code(settings: Settings) -> dict[str, str]:
    """A hash of the source of this package, and of each file that a class path of the settings leads to."""
    ours = Path(__file__).parents[1]
    found = {"crossbatch": _hash(sorted(ours.rglob("*.py")))}
    for path in settings.class_paths:
        if path in DATA_SETS:
            continue
        try:
            source = inspect.getsourcefile(imported(path, "the class path"))
        except (TypeError, SettingError):
            continue
        if source is not None:
            found[path] = _hash([Path(source)])
    return found


def _hash(files: list[Path]) -> str:
    digest = hashlib.sha256()
    for file in files:
        digest.update(file.name.encode() + file.read_bytes())
    return digest.hexdigest()[:8]


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 60 else f"{text[:57]}…"

"""The circumstances of a run (code, versions, data and options), and their changes when it resumes."""

import hashlib
import inspect
import platform
from collections.abc import Mapping
from dataclasses import asdict, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import lightning as L
from torch.optim.lr_scheduler import LambdaLR

from crossbatch import runs
from crossbatch.cross_batch import CrossBatchLoss
from crossbatch.data import DATA_SETS
from crossbatch.data.data_set import DataSet
from crossbatch.errors import RunError, SettingError
from crossbatch.imported import imported
from crossbatch.launched import started_rank
from crossbatch.loss_names import recommended_options
from crossbatch.training.metric_learner import MetricLearner
from crossbatch.training.run_parts import RunParts
from crossbatch.training.settings import LossSettings, Settings
from crossbatch.typed import typed

PACKAGES = ("crossbatch", "torch", "torchvision", "timm", "lightning")
# Options that may change freely: where the data lies, the weights that the run began from, the processes; a race is
# over before a run begins.
FREE = ("root", "model.pretrained", "model.weights", "loop.workers", "loop.devices", "loop.race")


def versions() -> dict[str, str]:
    """Versions of the packages that decide what a step computes."""
    return {name: version(name) for name in PACKAGES}


def circumstances(parts: RunParts) -> dict[str, Any]:
    """All values that are compared when a run resumes, by kind and name."""
    return {
        "version": {**versions(), "python": platform.python_version()},
        "code": _code(parts.settings),
        "data": parts.data.identity,
        "option": flat(parts.settings.as_dict()),
    }


def changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Describe each changed value as `kind name (before → now)`; a value that `before` lacks is not compared."""
    changed = []
    for kind, values in now.items():
        earlier = before.get(kind)
        for name, value in values.items():
            if not isinstance(earlier, Mapping) or name not in earlier or (kind == "option" and name in FREE):
                continue
            if earlier[name] != value:
                changed.append(f"{kind} {name} ({_short(earlier[name])} → {_short(value)})")
    return changed


def refuse_other_data(run: Path, loaded: DataSet) -> None:
    """Refuse to resume on other images, before another part of the run fails on them."""
    _refuse(run, changes(_kept(run), {"data": loaded.identity}))


def accept(run: Path, parts: RunParts, *, force: bool) -> list[str]:
    """Refuse to resume under changed circumstances, unless forced; returns the changes. Nothing is written."""
    changed = changes(_kept(run), circumstances(parts))
    if not force:
        _refuse(run, changed)
    _refuse_learnt(run, parts)
    return changed


def _refuse_learnt(run: Path, parts: RunParts) -> None:
    """Refuse a changed initial value of a learnt parameter of the loss, since it would have no effect."""
    kept = Settings.from_dict(runs.read_config(run)).loss
    now, loss_fn = parts.settings.loss, parts.learner.loss_fn
    learnt = {name for name, _ in loss_fn.named_parameters()} if kept.name == now.name else set()
    for name, value in now.init_args.items():
        if value != kept.init_args.get(name) and learnt & {name, f"loss.{name}"}:
            reason = f"--loss.{name} is where the loss starts to learn from, and {run} has learnt since"
            raise RunError(f"{reason}: leave it out, or start anew with --init {typed(run)}")


def _refuse(run: Path, told: list[str]) -> None:
    if told:
        raise RunError(
            f"{run} goes on as it began, and since then this has changed: {', '.join(told)}: bring it back as it was, "
            "add --force to go on all the same, or start anew from its model with --init"
        )


class TakeOptions(L.Callback):
    """Sets the options that a checkpoint restores to those of the settings, which may have been changed by force.

    Where the options are the same, training is the same to the last bit.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    def on_train_start(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        """Set the optimizer with its schedule, the step at which the memory starts, and the patience."""
        assert isinstance(module, MetricLearner)  # noqa: S101
        configured, (optimizer,), schedule = module.configure_optimizers(), trainer.optimizers, module.lr_schedulers()
        assert isinstance(schedule, LambdaLR)  # noqa: S101
        configured_schedule: LambdaLR = configured["lr_scheduler"]["scheduler"]
        schedule.base_lrs = configured_schedule.base_lrs
        for group, new, factor in zip(
            optimizer.param_groups, configured["optimizer"].param_groups, configured_schedule.lr_lambdas, strict=True
        ):
            lr = new["initial_lr"] * factor(schedule.last_epoch)
            group.update({name: value for name, value in new.items() if name != "params"} | {"lr": lr})
        if isinstance(module.loss_fn, CrossBatchLoss) and self.settings.memory.start is not None:
            module.loss_fn.start.fill_(self.settings.memory.start)
        for callback in trainer.early_stopping_callbacks:
            callback.patience = self.settings.loop.patience


class KeepCircumstances(L.Callback):
    """Writes the changed circumstances of a resumed run into its folder, once its checkpoint has loaded.

    A checkpoint that does not fit is refused before that, and the run folder stays as it was. The file that later
    resumes compare with is written last: after a kill in between, the changes are still refused unless forced.
    """

    def __init__(self, run: Path, parts: RunParts) -> None:
        self.run, self.parts = run, parts

    def on_train_start(self, *_: Any) -> None:
        """Write before the first step under changed circumstances."""
        if started_rank() > 0:
            return
        now = circumstances(self.parts)
        if changes(_kept(self.run), now):
            runs.write_json(self.run / runs.DATA, self.parts.data.outline)
            runs.write_config(self.run, self.parts.settings.as_dict(), runs.read_decided(self.run))
        runs.write_json(self.run / runs.CIRCUMSTANCES, now)

    def on_fit_end(self, *_: Any) -> None:
        """Write also where no step was left to train."""
        self.on_train_start()


def with_given(kept: Settings, given: Settings, names: Mapping[str, Any]) -> Settings:
    """The settings of a run, with the options given beside --resume in their place; `names` holds only those."""
    plain, merged = flat(given.as_dict()), kept.as_dict()
    for name in flat({group: value for group, value in names.items() if group != "loss"}):
        place, (*groups, last) = merged, name.split(".")
        for group in groups:
            place = place[group]
        place[last] = plain[name]
    merged["loss"] = asdict(_loss(kept, given, named="class_path" in names.get("loss", {})))
    return Settings.from_dict(merged)


def _loss(kept: Settings, given: Settings, *, named: bool) -> LossSettings:
    """The loss of a run with the given options; if another loss is named, that one with its recommended options."""
    options = given.loss.init_args
    if not named or given.loss.name == kept.loss.name:
        return replace(kept.loss, init_args=kept.loss.init_args | options)
    return replace(
        given.loss, init_args=recommended_options(given.loss.name, options) if given.recommended else options
    )


def flat(options: Mapping[str, Any], above: str = "") -> dict[str, Any]:
    """Options by their names on the command line; those of a loss stay one value, since its class may change."""
    by_name: dict[str, Any] = {}
    for name, value in options.items():
        inner = isinstance(value, dict) and name != "init_args"
        by_name |= flat(value, f"{above}{name}.") if inner else {f"{above}{name}": value}
    return by_name


def _kept(run: Path) -> dict[str, Any]:
    """The circumstances under which the run was trained last."""
    before = {"data": runs.read_json(run / runs.DATA)}
    kept = runs.read_json(run / runs.CIRCUMSTANCES) if (run / runs.CIRCUMSTANCES).is_file() else {}
    return before | (kept if isinstance(kept, dict) else {})


def _code(settings: Settings) -> dict[str, str]:
    """A hash of the source of this package, and of each file that a class path of the settings leads to."""
    ours = Path(__file__).parents[1]
    hashes = {"crossbatch": _hash(sorted(ours.rglob("*.py")))}
    for path in settings.class_paths:
        if path in DATA_SETS:
            continue
        try:
            source = inspect.getsourcefile(imported(path, "the class path"))
        except (TypeError, SettingError):
            continue
        if source is not None:
            hashes[path] = _hash([Path(source)])
    return hashes


def _hash(files: list[Path]) -> str:
    digest = hashlib.sha256()
    for file in files:
        digest.update(file.name.encode() + file.read_bytes())
    return digest.hexdigest()[:8]


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 60 else f"{text[:57]}…"

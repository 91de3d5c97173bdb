"""The loggers of a run, and the messages of Lightning that are suppressed."""

import csv
import inspect
import io
import logging
import sys
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from textwrap import shorten
from typing import Any

from lightning.fabric.loggers.logger import rank_zero_experiment
from lightning.pytorch.loggers import CSVLogger, Logger, TensorBoardLogger
from lightning.pytorch.loggers.csv_logs import ExperimentWriter

from crossbatch import durable, runs
from crossbatch.errors import SettingError
from crossbatch.imported import imported_class
from crossbatch.launched import started_rank


def loggers_of(class_path: str | None, run: Path, step: int) -> list[Logger]:
    """The loggers of a run: CSV, TensorBoard, and in the first process the one of `class_path`, if given.

    CSV has a folder for each sitting, from a start or resume to the next stop: Lightning's logger starts its file anew.
    """
    logs = run / runs.LOGS
    loggers: list[Logger] = [
        WholeLogger(logs, name="csv", version=_sitting(logs / "csv", step), flush_logs_every_n_steps=50),
        TensorBoardLogger(logs, name="tensorboard", version="", purge_step=step),  # drops later logs of a killed run
    ]
    if class_path:
        extra = imported_class(class_path, "--loop.logger", Logger)
        if started_rank() != 0:
            return loggers
        try:
            loggers.append(extra(**_options_for(extra, logs)))
        except Exception as error:  # a logger of others raises whatever it likes
            reason = shorten(str(error), 200, placeholder=" …")
            problem = f"--loop.logger {class_path} cannot be made ({type(error).__name__}: {reason})"
            raise SettingError(f"{problem}: install or set what it needs") from error
    return loggers


def _options_for(extra: type[Logger], logs: Path) -> dict[str, str]:
    """The folder of the logs, and the name of the run for a logger that would invent one; each if it is taken."""
    takes = inspect.signature(extra).parameters
    names = (name for name in ("name", "run_name") if name in takes and takes[name].default is None)
    return ({"save_dir": str(logs)} if "save_dir" in takes else {}) | dict.fromkeys(names, logs.parent.name)


@contextmanager
def ending_trackers() -> Iterator[None]:
    """End the W&B run that was begun within the block: a process has one, and the next training would go on in it."""
    before, failed = _wandb_run(), True
    try:
        yield
        failed = False
    finally:
        begun = _wandb_run()
        if begun is not None and begun is not before:
            with suppress(Exception):  # a tracker that cannot be reached does not take the run with it
                begun.finish(exit_code=int(failed))


def _wandb_run() -> Any:
    return getattr(sys.modules.get("wandb"), "run", None)


def _sitting(folder: Path, step: int) -> str:
    """A name for the sitting that starts at a step, so that sorted names follow the order of the sittings.

    Two sittings may start at one step: the first may have validated there, and been killed before its next step.
    """
    name = f"from_{step:08d}"
    before = len(list(folder.glob(f"{name}*")))
    return f"{name}_{before + 1:03d}" if before else name


class WholeLogger(CSVLogger):
    """Lightning's CSV logger with a safe writer: a new column rewrites the file, and a kill must not lose its rows."""

    @property
    @rank_zero_experiment
    def experiment(self) -> "WholeWriter":
        """The writer of the file."""
        if not isinstance(self._experiment, WholeWriter):
            self._experiment = WholeWriter(self.log_dir)
        return self._experiment


class WholeWriter(ExperimentWriter):
    """Rewrites the file beside itself before replacing it, and leaves out a row that repeats the last one."""

    _before: dict[str, float] | None = None

    def log_metrics(self, metrics_dict: dict[str, float], step: int | None = None) -> None:
        """Keep a row, unless it repeats the last one: a checkpoint logs its step, which Lightning then logs again."""
        super().log_metrics(metrics_dict, step)
        if self.metrics[-1] == self._before:
            self.metrics.pop()
        else:
            self._before = self.metrics[-1]

    def _rewrite_with_new_header(self, fieldnames: list[str]) -> None:
        text = io.StringIO()
        with Path(self.metrics_file_path).open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        table = csv.DictWriter(text, fieldnames)
        table.writeheader()
        table.writerows(rows)
        durable.write_text(Path(self.metrics_file_path), text.getvalue())


@contextmanager
def quiet_lightning() -> Iterator[None]:
    """Suppress messages of Lightning about choices made on purpose, such as loader processes or an endless epoch."""
    loggers = [logging.getLogger(name) for name in ("lightning.pytorch", "lightning.fabric.utilities.distributed")]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings(), ExitStack() as afterwards:
        for logger, level in zip(loggers, levels, strict=True):
            afterwards.callback(logger.setLevel, level)
            logger.setLevel(logging.ERROR)
        for message in (
            ".*does not have many workers.*",
            ".*resuming from a checkpoint that ended before the epoch ended.*",
            ".*callbacks used to create the checkpoint need to be provided.*",  # some are left out on purpose
            ".*Checkpoint directory.*exists and is not empty.*",
            ".*Experiment logs directory.*exists and is not empty.*",
            ".*LeafSpec.*",
            ".*GPU available but not used.*",
            ".*in eval mode at the start of training.*",
            ".*`IterableDataset`.*",
            ".*sync_dist=True.*",  # validation metrics are the same in all processes
        ):
            warnings.filterwarnings("ignore", message)
        yield

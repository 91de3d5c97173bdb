"""Where a run logs to, and what of Lightning's own messages is left out."""

import csv
import inspect
import io
import logging
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from lightning.fabric.loggers.logger import rank_zero_experiment
from lightning.pytorch.loggers import CSVLogger, Logger, TensorBoardLogger
from lightning.pytorch.loggers.csv_logs import ExperimentWriter

from crossbatch import durable, runs
from crossbatch.errors import SettingError
from crossbatch.imported import imported_class


def loggers_of(class_path: str | None, run: Path, step: int) -> list[Logger]:
    """CSV (a folder for each sitting: Lightning's starts its file anew), TensorBoard, and the one asked for."""
    logs = run / runs.LOGS
    loggers: list[Logger] = [
        WholeLogger(logs, name="csv", version=_sitting(logs / "csv", step), flush_logs_every_n_steps=50),
        TensorBoardLogger(logs, name="tensorboard", version="", purge_step=step),  # what a killed sitting logged after
    ]
    if class_path:
        extra = imported_class(class_path, "--loop.logger", Logger)
        takes_folder = "save_dir" in inspect.signature(extra).parameters
        try:
            loggers.append(extra(**({"save_dir": str(logs)} if takes_folder else {})))
        except (ImportError, TypeError, ValueError) as error:
            raise SettingError(f"--loop.logger {class_path} cannot be made ({error}): install what it needs") from error
    return loggers


def _sitting(folder: Path, step: int) -> str:
    """A name for what goes on from a step, behind those before it in order; two may go on from one step.

    The first of them may have validated there, and been killed before it was a step further.
    """
    name = f"from_{step:08d}"
    before = len(list(folder.glob(f"{name}*")))
    return f"{name}_{before + 1:03d}" if before else name


class WholeLogger(CSVLogger):
    """Lightning's, whose file a kill can leave without its past: a new column makes it write all of it anew."""

    @property
    @rank_zero_experiment
    def experiment(self) -> "WholeWriter":
        """What writes the file."""
        if not isinstance(self._experiment, WholeWriter):
            self._experiment = WholeWriter(self.log_dir)
        return self._experiment


class WholeWriter(ExperimentWriter):
    """Writes a file anew beside it, and leaves out a row that has just been logged."""

    _before: dict[str, float] | None = None

    def log_metrics(self, metrics_dict: dict[str, float], step: int | None = None) -> None:
        """Keep a row, unless it is the one before it: a checkpoint of a step logs what the step then logs again."""
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
    """Leave out what Lightning says of choices made here on purpose: loader processes, an endless epoch."""
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
            ".*sync_dist=True.*",  # what is logged of a validation is the same in all processes
        ):
            warnings.filterwarnings("ignore", message)
        yield

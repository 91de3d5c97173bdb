"""Where a run logs to, and what of Lightning's own messages is left out."""

import inspect
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lightning.pytorch.loggers import CSVLogger, Logger, TensorBoardLogger

from crossbatch import runs
from crossbatch.errors import SettingError
from crossbatch.imported import imported_class


def loggers_of(class_path: str | None, run: Path, step: int) -> list[Logger]:
    """CSV (a folder for each sitting: Lightning's starts its file anew), TensorBoard, and the one asked for."""
    logs = run / runs.LOGS
    loggers: list[Logger] = [
        CSVLogger(logs, name="csv", version=f"from_{step:08d}", flush_logs_every_n_steps=50),
        TensorBoardLogger(logs, name="tensorboard", version=""),
    ]
    if class_path:
        extra = imported_class(class_path, "--loop.logger", Logger)
        takes_folder = "save_dir" in inspect.signature(extra).parameters
        try:
            loggers.append(extra(**({"save_dir": str(logs)} if takes_folder else {})))
        except (ImportError, TypeError, ValueError) as error:
            raise SettingError(f"--loop.logger {class_path} cannot be made ({error}): install what it needs") from error
    return loggers


@contextmanager
def quiet_lightning() -> Iterator[None]:
    """Leave out what Lightning says of choices made here on purpose: loader processes, an endless epoch."""
    logger = logging.getLogger("lightning.pytorch")
    level = logger.level
    logger.setLevel(logging.ERROR)
    logging.getLogger("lightning.fabric.utilities.distributed").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        for message in (
            ".*does not have many workers.*",
            ".*resuming from a checkpoint that ended before the epoch ended.*",
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
    logger.setLevel(level)

"""Reading the data set of a run again."""

from pathlib import Path
from typing import TYPE_CHECKING

from crossbatch import data as data_sets
from crossbatch import runs
from crossbatch.errors import SettingError
from crossbatch.training.settings import Settings

if TYPE_CHECKING:
    from crossbatch.data.data_set import DataSet  # imports Pillow


def data_of_run(run: Path, data: str | None, root: Path | None) -> "DataSet":
    """Read the data set that a run was trained on.

    `root`: where the data set is now, if it has moved. `data`: import path of the user's own function that reads it;
    the path in the run folder is never imported by itself.
    """
    runs.refuse_several(run)
    settings = Settings.from_dict(runs.read_config(run))
    if data is None and settings.data not in data_sets.DATA_SETS:
        raise SettingError(f"{run} was trained on a data set of your own: say --data {settings.data} if it is yours")
    if root is None and settings.root is not None and not settings.root.exists():
        raise SettingError(
            f"{run} was trained on images at {settings.root}, which is gone: say where it is now with --root"
        )
    return data_sets.load(data or settings.data, root or settings.root, settings.split, settings.fonts, settings.script)

"""Every error this package raises on purpose; each message says what was given, what fits and the way out.

* CrossBatchError
  - ShapeError
  - SettingError
  - DataError
  - RunError
  - DivergedError
  - MissingExtraError
"""

from typing import Any


class CrossBatchError(ValueError):
    """Base of all errors raised by crossbatch; the command line prints it in one line."""


class ShapeError(CrossBatchError):
    """Tensors that belong together do not fit together."""


def require_one_each(count: int, rows: str, **named: Any) -> None:
    """Refuse labels and ids that are not one a row, or not int64, in which they are kept and compared."""
    for name, values in named.items():
        if values is None:
            continue
        if len(values) != count:
            raise ShapeError(f"{count} {rows} need as many {name}, got {len(values)}")
        if str(values.dtype) != "torch.int64":
            raise ShapeError(f"{name} are int64, got {values.dtype}: call .long() on them")


class SettingError(CrossBatchError):
    """An option or parameter has a value that cannot work."""


class DataError(CrossBatchError):
    """A data set is missing, broken or too small for what was asked of it."""


class RunError(CrossBatchError):
    """A run folder or checkpoint is missing, incomplete, or not to be overwritten."""


class DivergedError(CrossBatchError):
    """Training left embeddings that are not finite: not bad input, but a run that failed."""


class MissingExtraError(CrossBatchError):
    """A feature needs a package that the base install leaves out."""

    def __init__(self, feature: str, package: str, extra: str) -> None:
        super().__init__(f'{feature} needs {package}: pip install "crossbatch[{extra}]"')

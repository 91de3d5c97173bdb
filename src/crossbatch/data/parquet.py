"""The import of pyarrow, which reads and writes Parquet."""

from typing import Any

from crossbatch.errors import MissingExtraError


def parquet(feature: str, extra: str = "parquet") -> tuple[Any, Any]:
    """The packages pyarrow and pyarrow.parquet, for a feature that needs them."""
    try:
        import pyarrow  # noqa: PLC0415
        from pyarrow import parquet as files  # noqa: PLC0415
    except ModuleNotFoundError:
        raise MissingExtraError(feature, "pyarrow", extra) from None
    return pyarrow, files

"""Tests that a file is replaced completely or not at all, and that an error names its file."""

from pathlib import Path
from threading import Barrier, Thread

import pytest

from crossbatch import durable
from crossbatch.errors import DiskError


def test_an_error_of_another_file_is_not_one_of_this(tmp_path: Path) -> None:
    file = tmp_path / "file"
    durable.write_text(file, "before")
    with pytest.raises(FileNotFoundError, match="other"), durable.whole(file) as opened:
        opened.write((tmp_path / "other").read_bytes())
    assert file.read_text(encoding="utf-8") == "before"
    assert list(tmp_path.iterdir()) == [file]


def test_a_folder_that_is_missing_is_told(tmp_path: Path) -> None:
    with pytest.raises(DiskError, match="cannot be written"):
        durable.write_text(tmp_path / "missing" / "file", "text")


def test_two_threads_that_write_one_file_leave_the_whole_of_one(tmp_path: Path) -> None:
    file, together = tmp_path / "file", Barrier(2)

    def write(text: str) -> None:
        with durable.whole(file) as opened:
            opened.write(text.encode())
            together.wait(10)
            opened.write(text.encode())

    threads = [Thread(target=write, args=(text,)) for text in ("a" * 1000, "b" * 1000)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert file.read_text(encoding="utf-8") in ("a" * 2000, "b" * 2000)
    assert list(tmp_path.iterdir()) == [file]

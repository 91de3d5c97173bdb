"""A check of every image file before the first step. Results are kept, so that the next run does not check again."""

import csv
import os
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Literal

import torch

from crossbatch.data.cache import cache_folder
from crossbatch.data.data_set import DataSet, Part, Search
from crossbatch.data.formats import check_header
from crossbatch.data.image_files import FileImages, naming
from crossbatch.errors import DataError, UnreadableError
from crossbatch.progress import watched

How = Literal["header", "decode", "none"]


def unreadable(images: FileImages, how: How) -> dict[int, str]:
    """Ids of the images that cannot be read, and why. `how`: read their headers, or decode them whole."""
    places = [os.fsencode(Path(path).absolute()) for path in images.paths]
    states = dict(zip(places, map(_state, places), strict=True))
    with _database() as database:
        known = {} if database is None else _recalled(database, states, how)
        checked = []
        unknown = [number for number, place in enumerate(places) if place not in known]
        for number in watched(unknown, "checking images"):
            problem = _problem(images, number, how)
            checked.append((places[number], *states[places[number]], how, problem))
            known[places[number]] = problem
        if database is not None and checked:
            with suppress(sqlite3.Error), database:
                database.executemany("INSERT OR REPLACE INTO checked VALUES (?, ?, ?, ?, ?)", checked)
    return {number: known[place] for number, place in enumerate(places) if known[place]}


def refuse_unreadable(loaded: DataSet, how: How) -> None:
    """Refuse a data set with files that cannot be read; several are counted, and listed in a file."""
    if reasons := _reasons(loaded, how):
        first = next(iter(reasons.values()))
        problem, them = (first, "it") if len(reasons) == 1 else (f"{_write_listing(loaded, reasons)}: {first}", "them")
        raise DataError(f"{problem}; mend or remove {them}, or --loop.on_corrupt skip")


def without_unreadable(loaded: DataSet, how: How) -> DataSet:
    """The data set without the files that cannot be read; a note has their number, and the file that lists them."""
    reasons = _reasons(loaded, how)
    if not reasons:
        return loaded
    unread = torch.tensor(sorted(reasons))

    def readable(part: Part) -> Part:
        return part.select(~torch.isin(part.ids, unread))

    tests = {
        name: Search(readable(search.query), None if search.gallery is None else readable(search.gallery))
        for name, search in loaded.tests.items()
    }
    note = f"{_write_listing(loaded, reasons)}: left out"
    parts = {"train": readable(loaded.train), "validation": readable(loaded.validation), "tests": tests}
    return replace(loaded, **parts, notes=[*loaded.notes, note])  # type: ignore[arg-type]


def _reasons(loaded: DataSet, how: How) -> dict[int, str]:
    return unreadable(loaded.images, how) if how != "none" and isinstance(loaded.images, FileImages) else {}


def _write_listing(loaded: DataSet, found: Mapping[int, str]) -> str:
    """Write a file that lists the images that cannot be read; return a clause with their number and that file."""
    listing = cache_folder() / f"unreadable-{loaded.fingerprint}.csv"
    listing.parent.mkdir(parents=True, exist_ok=True)
    with listing.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("path", "reason"), *((loaded.images.name(n), found[n]) for n in found)])
    return f"{len(found):,} of {len(loaded.images):,} images cannot be read, all of them listed in {listing}"


def _problem(images: FileImages, number: int, how: How) -> str:
    """Why an image cannot be read; empty if it can."""
    path = images.paths[number]
    try:
        if how == "decode":
            images.read(number)
        else:
            with naming(path):
                check_header(path)
    except UnreadableError as error:
        return error.reason
    return ""


@contextmanager
def _database() -> Iterator[sqlite3.Connection | None]:
    """The database of earlier checks; None if it cannot be opened."""
    try:
        cache_folder().mkdir(parents=True, exist_ok=True)
        database = sqlite3.connect(cache_folder() / "checked.sqlite", timeout=10)
        database.execute(
            "CREATE TABLE IF NOT EXISTS checked (path BLOB PRIMARY KEY, size INT, changed INT, how TEXT, problem TEXT)"
        )
    except (OSError, sqlite3.Error):
        yield None
        return
    with closing(database):
        yield database


def _recalled(memory: sqlite3.Connection, states: Mapping[bytes, tuple[int, int]], how: How) -> dict[bytes, str]:
    """Earlier results for the files that have not changed since a check that was at least as thorough as `how`."""
    enough = ("decode",) if how == "decode" else ("decode", "header")
    known: dict[bytes, str] = {}
    places = list(states)
    with suppress(sqlite3.Error):
        for start in range(0, len(places), 900):
            some = places[start : start + 900]
            marks = ", ".join("?" * len(some))
            rows = memory.execute(f"SELECT * FROM checked WHERE path IN ({marks})", some)  # noqa: S608  (marks only)
            known |= {
                place: problem
                for place, size, changed, checked, problem in rows
                if checked in enough and (size, changed) == states[place]
            }
    return known


def _state(place: bytes) -> tuple[int, int]:
    """Size and time of the last change; −1 for both if the file does not exist."""
    try:
        stat = os.stat(place)  # noqa: PTH116  (bytes)
    except OSError:
        return -1, -1
    return stat.st_size, stat.st_mtime_ns

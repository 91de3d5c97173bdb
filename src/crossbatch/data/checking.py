"""Every file looked at before the first step; what was found is kept, so that the next run need not look again."""

import csv
import os
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Literal

import torch
from PIL import Image

from crossbatch.data.cache import cache_folder
from crossbatch.data.data_set import DataSet, Part, Search
from crossbatch.data.formats import available
from crossbatch.data.image_files import FileImages, naming
from crossbatch.errors import DataError, UnreadableError
from crossbatch.progress import watched

How = Literal["header", "decode", "none"]


def unreadable(images: FileImages, how: How) -> dict[int, str]:
    """Numbers of the images that cannot be read, and why; by their headers, or decoded whole."""
    places = [os.fsencode(Path(path).absolute()) for path in images.paths]
    states = dict(zip(places, map(_state, places), strict=True))
    with _memory() as memory:
        known = {} if memory is None else _recalled(memory, states, how)
        news = []
        unknown = [number for number, place in enumerate(places) if place not in known]
        for number in watched(unknown, "checking images"):
            problem = _problem(images, number, how)
            news.append((places[number], *states[places[number]], how, problem))
            known[places[number]] = problem
        if memory is not None and news:
            with suppress(sqlite3.Error), memory:
                memory.executemany("INSERT OR REPLACE INTO checked VALUES (?, ?, ?, ?, ?)", news)
    return {number: known[place] for number, place in enumerate(places) if known[place]}


def refuse_unreadable(loaded: DataSet, how: How) -> None:
    """Refuse a data set with files that cannot be read, all together, and write a file that lists them."""
    if found := _found(loaded, how):
        first = next(iter(found.values()))
        told, them = (first, "it") if len(found) == 1 else (f"{_told(loaded, found)}: {first}", "them")
        raise DataError(f"{told}; mend or remove {them}, or --loop.on_corrupt skip")


def without_unreadable(loaded: DataSet, how: How) -> DataSet:
    """The data set without the files that cannot be read; a note says how many, and where they are listed."""
    found = _found(loaded, how)
    if not found:
        return loaded
    unread = torch.tensor(sorted(found))

    def readable(part: Part) -> Part:
        return part.select(~torch.isin(part.ids, unread))

    tests = {
        name: Search(readable(one.query), None if one.gallery is None else readable(one.gallery))
        for name, one in loaded.tests.items()
    }
    note = f"{_told(loaded, found)}: left out"
    parts = {"train": readable(loaded.train), "validation": readable(loaded.validation), "tests": tests}
    return replace(loaded, **parts, notes=[*loaded.notes, note])  # type: ignore[arg-type]


def _found(loaded: DataSet, how: How) -> dict[int, str]:
    return unreadable(loaded.images, how) if how != "none" and isinstance(loaded.images, FileImages) else {}


def _told(loaded: DataSet, found: Mapping[int, str]) -> str:
    """How many cannot be read, and the file that lists them, which is written."""
    listing = cache_folder() / f"unreadable-{loaded.fingerprint}.csv"
    listing.parent.mkdir(parents=True, exist_ok=True)
    with listing.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("path", "reason"), *((loaded.images.name(n), found[n]) for n in found)])
    return f"{len(found):,} of {len(loaded.images):,} images cannot be read, all of them listed in {listing}"


def _problem(images: FileImages, number: int, how: How) -> str:
    """Why an image cannot be read; nothing if it can."""
    path = images.paths[number]
    try:
        if how == "decode":
            images.read(number)
        else:
            with naming(path), Image.open(path, formats=available()):
                pass
    except UnreadableError as error:
        return error.reason
    return ""


@contextmanager
def _memory() -> Iterator[sqlite3.Connection | None]:
    """What earlier checks found; nothing where it cannot be kept."""
    try:
        cache_folder().mkdir(parents=True, exist_ok=True)
        memory = sqlite3.connect(cache_folder() / "checked.sqlite", timeout=10)
        memory.execute(
            "CREATE TABLE IF NOT EXISTS checked (path BLOB PRIMARY KEY, size INT, changed INT, how TEXT, problem TEXT)"
        )
    except (OSError, sqlite3.Error):
        yield None
        return
    with closing(memory):
        yield memory


def _recalled(memory: sqlite3.Connection, states: Mapping[bytes, tuple[int, int]], how: How) -> dict[bytes, str]:
    """Problems of the files that are as they were when they were checked at least so well."""
    enough = ("decode",) if how == "decode" else ("decode", "header")
    known: dict[bytes, str] = {}
    places = list(states)
    with suppress(sqlite3.Error):
        for start in range(0, len(places), 900):
            asked = places[start : start + 900]
            marks = ", ".join("?" * len(asked))
            rows = memory.execute(f"SELECT * FROM checked WHERE path IN ({marks})", asked)  # noqa: S608  (marks alone)
            known |= {
                place: problem
                for place, size, changed, checked, problem in rows
                if checked in enough and (size, changed) == states[place]
            }
    return known


def _state(place: bytes) -> tuple[int, int]:
    """Size and time of the last change; −1 for a file that is not there."""
    try:
        stat = os.stat(place)  # noqa: PTH116  (bytes)
    except OSError:
        return -1, -1
    return stat.st_size, stat.st_mtime_ns

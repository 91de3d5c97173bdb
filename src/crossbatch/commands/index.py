"""`crossbatch index`: embed images into a gallery for search; remove or relabel images of it."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from crossbatch.commands.galleries import (
    GALLERY,
    Milvus,
    fill,
    images_of_run,
    lag,
    refuse_other_folder,
    refuse_unread,
    show,
)
from crossbatch.commands.output import continuable
from crossbatch.errors import RunError, SettingError
from crossbatch.typed import typed

if TYPE_CHECKING:
    from crossbatch.index.indexing import Outcome
    from crossbatch.index.sources import Found


def index(
    run: Path,
    images: list[Path] = [],  # noqa: B006  (the parser shows it and never changes it)
    to: str | None = None,
    data: str | None = None,
    root: Path | None = None,
    table: Path | None = None,
    remove: list[str] = [],  # noqa: B006
    prune: bool = False,
    labels: Path | None = None,
    milvus: Milvus = Milvus(),  # noqa: B008  (frozen)
    *,
    console: Console,
) -> dict[str, Any]:
    """Embed images with the model of a run into a gallery: a table, a Milvus database and a map.

    An image whose content is there already is not embedded again: its label and path are updated. IMAGES are
    folders (the first folder below one is the label), tables of path,label, or image files; without them the images
    that the run was trained and tested on. If it is killed, the same command continues it.

    Args:
        run: Run folder; or a gallery, to add to it, change it, or update its database.
        images: Folders, tables (.csv, .tsv, .parquet, .jsonl) or image files.
        to: Gallery folder to make or to add to, by default RUN/gallery; or the address of a Milvus server, as
            http://host:19530.
        data: Import path of your own function that reads the data set, if the run was trained with one.
        root: Where the run's data set is now, if it has moved.
        table: With a server, the folder of the table, by default RUN/gallery.
        remove: Remove this image, by its id, the start of its id, or its path if no other image has it; or all images
            in a folder; repeatable. A path is as the gallery shows it, or that of the file or folder.
        prune: Remove images whose files are gone, and those of IMAGES whose files hold other images now. Images whose
            folder is gone or empty stay, since their disk may not be mounted.
        labels: Give images other labels: a table of id,label or path,label, in the forms of IMAGES; the last row of an
            image counts.
        milvus: How to reach a Milvus server.
    """
    from crossbatch.encoder.hub import named  # noqa: PLC0415
    from crossbatch.index.indexing import Outcome  # noqa: PLC0415

    changing = bool(remove) or labels is not None
    if not run.exists() and not named(str(run)):
        raise RunError(f"there is no {run}: give a run folder, or a gallery")
    folder, server, own = _place(run, to, table)
    refuse_other_folder(folder)
    if images or changing or own:
        why = f"{run} is a gallery" if own else "IMAGES are given" if images else "nothing is added"
        refuse_unread(data, root, why)
        found, notes = _found(images, folder)
    else:
        found, notes = images_of_run(run, data, root)
    _check(folder, remove, labels, found)
    outcome = Outcome()
    if not changing or images or server:
        with continuable():
            outcome = fill(folder, run, found, milvus, console, server)
    changed = _change(folder, remove, labels, milvus) if changing else {}
    if prune:
        changed["pruned"] = _prune(folder, outcome, milvus)
        outcome.lost.clear()
    notes += _notes(outcome)
    for note in [*notes, *filter(None, [lag(folder)])]:
        console.print(f"note: {note}")
    if found:
        show(console, outcome)
    return _result(folder, outcome, changed, console)


def _notes(outcome: "Outcome") -> list[str]:
    """Notes on images without a label, and on images whose files are gone or replaced."""
    notes = []
    if outcome.unlabelled:
        bare = "1 image has" if outcome.unlabelled == 1 else f"{outcome.unlabelled:,} images have"
        notes.append(f"{bare} no label: it is the name of a folder below the one given")
    if outcome.lost:
        files = "the file of 1 image is" if len(outcome.lost) == 1 else f"the files of {len(outcome.lost):,} images are"
        notes.append(f"{files} gone or replaced by now: the same command with --prune takes such images out")
    if outcome.outvoted:
        path, kept = next(iter(outcome.outvoted.items()))
        copies = "1 copy is" if len(outcome.outvoted) == 1 else f"{len(outcome.outvoted):,} copies are"
        notes.append(f"{copies} under another label than the one kept, as {path}, kept as {kept or 'without a label'}")
    for folder, images in outcome.away.items():
        held = "1 image of it stays" if images == 1 else f"{images:,} images of it stay"
        problem = f"{folder} is gone or empty, as where a disk is not mounted, so {held} in the gallery"
        notes.append(f"{problem}: --remove {typed(folder)} takes them out")
    return notes


def _result(folder: Path, outcome: "Outcome", changed: dict[str, int], console: Console) -> dict[str, Any]:
    """Print the state of the gallery, and return it with the counts of the outcome."""
    from crossbatch.index import Gallery  # noqa: PLC0415
    from crossbatch.index.description import read  # noqa: PLC0415

    for kind, count in changed.items():
        console.print(f"{kind}: {count:,}")
    description = read(folder)
    console.print(f"gallery: {folder}, {len(Gallery(folder)):,} images")
    database = description.database
    result = {
        "gallery": str(folder),
        **{name: getattr(outcome, name) for name in ("added", "known", "changed", "copies", "unreadable")},
        **changed,
        "database": database.uri,
        "index": database.kind,
        "recall@10": database.recall_at_10,
    }
    recall = "not measured" if database.recall_at_10 is None else f"{database.recall_at_10:.3f}"
    line = f"database: {database.uri}, {database.kind or 'not made yet'}, recall@10 {recall}"
    console.print(line)
    line = f"next: crossbatch serve {typed(folder)}; crossbatch search {typed(folder)} PHOTO"
    console.print(line)
    return result


def _place(run: Path, to: str | None, table: Path | None) -> tuple[Path, str, bool]:
    """The gallery's folder, the address of its server or "", and whether `run` is the gallery itself."""
    from crossbatch.encoder.hub import named  # noqa: PLC0415
    from crossbatch.index.description import is_gallery  # noqa: PLC0415
    from crossbatch.index.milvus import is_server, refuse_secret  # noqa: PLC0415

    refuse_secret(to or "")
    server = to if to is not None and is_server(to) else ""
    if table is not None and not server:
        raise SettingError("--table goes with --to http://…; a gallery in a folder is --to FOLDER")
    if to is not None and "://" in to and not server:
        raise SettingError(f"--to takes a folder, or the address of a server as http://host:19530, got {to}")
    folder = (table or run / GALLERY) if server or to is None else Path(to)
    if named(str(folder)):
        raise SettingError(
            f"a model of the hub has no folder for a gallery: name one with {'--table' if server else '--to'}"
        )
    if not is_gallery(run):
        return folder, server, False
    if to is not None and (table or not server) and folder.resolve() != run.resolve():
        raise SettingError(f"{run} is a gallery: to make another, name the run that its model is of")
    return run, server, True


def _found(images: list[Path], folder: Path) -> tuple[list["Found"], list[str]]:
    """The given images, with paths relative to folders that the gallery knows; and notes."""
    from crossbatch.index import Gallery  # noqa: PLC0415
    from crossbatch.index.description import is_gallery  # noqa: PLC0415
    from crossbatch.index.sources import found_in  # noqa: PLC0415

    if not images:
        return [], []
    return found_in(images, Gallery(folder).rows if is_gallery(folder) else None, folder)


def _prune(folder: Path, outcome: "Outcome", milvus: Milvus) -> int:
    """Remove images whose files are gone or replaced; return how many."""
    from crossbatch.index.database import bring_in_step  # noqa: PLC0415
    from crossbatch.index.indexing import lost  # noqa: PLC0415
    from crossbatch.index.writer import writing  # noqa: PLC0415

    with writing(folder) as writer:
        if not outcome.lost:
            outcome.lost, outcome.away = lost(writer)
        if outcome.lost:
            writer.remove(outcome.lost)
            bring_in_step(writer, milvus.options)
    return len(outcome.lost)


def _check(folder: Path, remove: list[str], labels: Path | None, coming: list["Found"]) -> None:
    """Refuse names of no image, before any image is embedded."""
    from crossbatch.index import Gallery  # noqa: PLC0415
    from crossbatch.index.changes import check  # noqa: PLC0415
    from crossbatch.index.description import is_gallery  # noqa: PLC0415

    if not remove and labels is None:
        return
    rows = Gallery(folder).rows if is_gallery(folder) or not coming else None
    check(rows, remove, labels, coming)


def _change(folder: Path, remove: list[str], labels: Path | None, milvus: Milvus) -> dict[str, int]:
    """Relabel and remove images; return the number of each."""
    from crossbatch.index.changes import check, relabel, take_out  # noqa: PLC0415
    from crossbatch.index.database import bring_in_step  # noqa: PLC0415
    from crossbatch.index.writer import writing  # noqa: PLC0415

    changed = {}
    with writing(folder) as writer:
        check(writer.rows(), remove, labels)
        if labels is not None:
            changed["relabelled"] = relabel(writer, labels)
        if remove:
            changed["removed"] = take_out(writer, remove)
        bring_in_step(writer, milvus.options)
    return changed

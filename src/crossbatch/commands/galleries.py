"""Making and opening galleries for the commands index, search and serve."""

import os
import shutil
import uuid
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from crossbatch import runs
from crossbatch.commands.output import refuse_below_file, refuse_read_only
from crossbatch.commands.run_data import data_of_run
from crossbatch.durable import PARTIAL
from crossbatch.errors import DataError, RunError, SettingError
from crossbatch.typed import typed

if TYPE_CHECKING:
    from crossbatch.encoder import Encoder
    from crossbatch.index import Gallery
    from crossbatch.index.description import Database, Model
    from crossbatch.index.indexing import Outcome
    from crossbatch.index.sources import Found
    from crossbatch.index.writer import Writer

GALLERY = "gallery"  # the folder of a run's own gallery


@dataclass(frozen=True)
class Milvus:
    """How to reach a Milvus server.

    Args:
        token: Token of the server, or user:password; better given in MILVUS_TOKEN, which process lists do not show.
        certificate: PEM file with the certificate to trust for an https server.
    """

    token: str | None = None
    certificate: Path | None = None

    @property
    def options(self) -> dict[str, Any]:
        """Options for pymilvus."""
        token = self.token or os.environ.get("MILVUS_TOKEN")
        options: dict[str, Any] = {"token": token} if token else {}
        return options | ({"server_pem_path": str(self.certificate)} if self.certificate else {})


def images_of_run(run: Path, data: str | None, root: Path | None) -> tuple[list["Found"], list[str]]:
    """Every image of a run's data set, and the notes of the data set."""
    from crossbatch.index.sources import found_in_data_set  # noqa: PLC0415

    loaded = data_of_run(run, data, root)
    return found_in_data_set(loaded), loaded.notes


def fill(
    folder: Path, source: Path, found: Sequence["Found"], milvus: Milvus, console: Console, uri: str = ""
) -> "Outcome":
    """Embed images into a gallery, then update its map and database; makes the gallery if it does not exist.

    `source`: the run whose model embeds, or the gallery itself. `uri`: address of a server, empty for the present
    database. A new gallery without a single readable image is removed again; then `DataError`.
    """
    from crossbatch.encoder import load  # noqa: PLC0415  (imports torch)
    from crossbatch.index import kept_model  # noqa: PLC0415
    from crossbatch.index.description import Database, Model, is_gallery, read  # noqa: PLC0415
    from crossbatch.index.indexing import add  # noqa: PLC0415
    from crossbatch.index.milvus import LOCAL, is_server  # noqa: PLC0415
    from crossbatch.index.writer import LOCK, writing  # noqa: PLC0415

    refuse_other_folder(folder)
    database = Database(uri or LOCAL, f"crossbatch_{uuid.uuid4().hex[:12]}")
    new = not is_gallery(folder)
    if not new:
        database = _at(folder, read(folder).database, uri)
    if is_server(database.uri):
        _reach(folder, database, milvus)
    own = folder.resolve() == source.resolve()
    encoder = load(kept_model.kept(folder) if own else source)
    model = Model.of(encoder)
    with writing(folder, model, database) as writer:
        _refuse_other_model(writer, source, model)
        known = writer.description.database
        if (moved := _at(folder, known, uri)) != known:
            writer.keep_database(moved)
        if not own:
            kept_model.keep(encoder.source, folder)
        outcome = add(writer, found, encoder)
        if len(writer.rows()) or not found:
            _finish(writer, milvus, console)
            _add_graph(encoder, folder, outcome, console)
            return outcome
        if new:
            _empty(folder)
    if new:
        with suppress(OSError):  # a folder with other files stays
            (folder / LOCK).unlink()
            folder.rmdir()
    path, why = next(iter(outcome.unreadable.items()))
    raise DataError(f"none of the {len(found):,} images can be read, as {path}: {why}")


def _refuse_other_model(writer: "Writer", source: Path, model: "Model") -> None:
    """Refuse embeddings that cannot be compared with those of the gallery."""
    if writer.description.model != model:
        problem = f"{writer.folder} holds embeddings of {writer.description.model}, and {source} has {model}"
        raise RunError(f"{problem}: they cannot be compared; index into another folder with --to")


def _empty(folder: Path) -> None:
    """Remove the files of a new gallery without images."""
    from crossbatch.index import kept_model  # noqa: PLC0415
    from crossbatch.index.description import FILE  # noqa: PLC0415

    (folder / FILE).unlink()
    shutil.rmtree(folder / kept_model.FOLDER)


def _finish(writer: "Writer", milvus: Milvus, console: Console) -> None:
    """Draw the map, and bring the database in step with the table."""
    from crossbatch.index.database import bring_in_step  # noqa: PLC0415
    from crossbatch.index.projection import draw_map  # noqa: PLC0415

    if draw_map(writer) and writer.description.map:
        console.print(f"map: {writer.description.map.method}")
    bring_in_step(writer, milvus.options)


def _add_graph(encoder: "Encoder", folder: Path, outcome: "Outcome", console: Console) -> None:
    """Write the model as a graph too, with which queries are embedded sooner, where images were added."""
    from crossbatch.index import kept_model  # noqa: PLC0415

    if not outcome.added or not kept_model.wants_graph(encoder, folder):
        return
    graph = folder / kept_model.FOLDER / kept_model.GRAPH
    with console.status("writing the model as a graph"):
        why = kept_model.add_graph(encoder, folder)
    console.print(f"note: no graph for faster queries: {why}" if why else f"graph: {graph}, for faster queries")


def _at(folder: Path, known: "Database", uri: str) -> "Database":
    """The database of a gallery at the address `uri`; refuses to move one that already holds a copy of the table."""
    if uri in ("", known.uri):
        return known
    if known.revision >= 0:
        problem = f"{folder} has its database at {known.uri}, not at {uri}"
        raise RunError(f"{problem}: leave --to out, or name a folder for another gallery with --table")
    return replace(known, uri=uri)


def _reach(folder: Path, database: "Database", milvus: Milvus) -> None:
    """Raise `RunError` if the server does not answer, before anything is embedded or written."""
    from crossbatch.index.description import is_gallery  # noqa: PLC0415
    from crossbatch.index.milvus import connected  # noqa: PLC0415

    try:
        with connected(folder, database.uri, milvus.options):
            pass
    except RunError as error:
        if database.revision >= 0 or not is_gallery(folder):
            raise
        raise RunError(f"{error} crossbatch index {typed(folder)} --to ADDRESS uses another server") from error


def refuse_other_folder(folder: Path) -> None:
    """Refuse to make a gallery in a folder that holds something else."""
    from crossbatch.index.description import is_gallery  # noqa: PLC0415

    if folder.exists() and not folder.is_dir():
        raise RunError(f"{folder} is a file: name a folder for the gallery with --to")
    refuse_below_file(folder)
    way_out = "make it writable" if is_gallery(folder) else "name another folder for the gallery with --to"
    refuse_read_only(folder, way_out)
    if not folder.is_dir() or is_gallery(folder):
        return
    # A first call that was killed leaves a lock, a model and partial files.
    if any(file.name not in ("lock", "model") and file.suffix != PARTIAL for file in folder.iterdir()):
        raise RunError(f"{folder} holds something else than a gallery: name a new folder with --to")


def lag(folder: Path) -> str:
    """A note if the database of a gallery is behind its table; empty if it is in step."""
    from crossbatch.index.description import read  # noqa: PLC0415

    known = read(folder)
    if known.database.revision == known.revision:
        return ""
    problem = f"the database {folder / known.database.uri} is open in another process and stays behind the table"
    way_out = f"crossbatch index {typed(folder)} brings it in step once that process has ended"
    return f"{problem}, which answers meanwhile: {way_out}"


def open_gallery(
    place: Path, data: str | None, root: Path | None, milvus: Milvus, by: str, console: Console
) -> "Gallery":
    """Open a gallery, or that of a run; index the run's images first if that is missing or its database is behind."""
    from crossbatch.index import Gallery, description  # noqa: PLC0415

    if description.is_gallery(place):
        refuse_unread(data, root, f"{place} is a gallery")
        return Gallery(place, milvus.options, by)
    if not (place / runs.CONFIG).is_file():
        description.read(place)  # raises an error that says what to do
    folder = place / GALLERY
    if description.is_gallery(folder):
        known = description.read(folder)
        if known.database.revision == known.revision:
            refuse_unread(data, root, f"{folder} is there")
            opened = Gallery(folder, milvus.options, by)
            line = f"{folder} is there, with {len(opened):,} images; crossbatch index {typed(place)} adds the run's own"
            console.print(line)
            return opened
    refuse_read_only(folder, f"crossbatch index {typed(place)} --to GALLERY makes the gallery elsewhere")
    found, _ = images_of_run(place, data, root)
    console.print(f"indexing {len(found):,} images of {place} into {folder}")
    show(console, fill(folder, place, found, milvus, console))
    return Gallery(folder, milvus.options, by)


def refuse_unread(data: str | None, root: Path | None, why: str) -> None:
    """Refuse options of a run's data set if no data set is read; `why`: the reason, for the error."""
    given = [name for name, value in (("--data", data), ("--root", root)) if value is not None]
    if given:
        raise SettingError(f"{why}, so no data set of a run is read: leave out {' and '.join(given)}")


def show(console: Console, outcome: "Outcome") -> None:
    """Print how many images were added, known, changed, copies, left out or links that lead out of their folder."""
    line = f"images: {outcome.added:,} embedded, {outcome.known:,} there already"
    line += f", {outcome.changed:,} of them under another label or path" if outcome.changed else ""
    copies = "1 is a byte-for-byte copy" if outcome.copies == 1 else f"{outcome.copies:,} are byte-for-byte copies"
    line += f", {copies}" if outcome.copies else ""
    console.print(line)
    for path, reason in list(outcome.unreadable.items())[:5]:
        console.print(f"left out: {path}: {reason}")
    if len(outcome.unreadable) > 5:
        console.print(f"left out: {len(outcome.unreadable):,} images in all that cannot be read")
    if outcome.linked:
        line = f"note: links lead out of the folder to {outcome.linked:,} of the files; the search page shows"
        console.print(f"{line} only small pictures of these: for whole ones index the folder that holds the files")

"""Galleries as commands make and open them: of a run, of other images, in a folder or on a server."""

import os
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from crossbatch import runs
from crossbatch.commands.output import refuse_below_file
from crossbatch.commands.run_data import data_of_run
from crossbatch.durable import PARTIAL
from crossbatch.errors import RunError

if TYPE_CHECKING:
    from crossbatch.index.indexing import Embedder, Outcome
    from crossbatch.index.sources import Found

GALLERY = "gallery"  # the folder of a run that its images are indexed into


@dataclass(frozen=True)
class Milvus:
    """How to reach a Milvus server.

    Args:
        token: Token of the server, or user:password; better in the variable MILVUS_TOKEN, where no list shows it.
        certificate: File (PEM) with the certificate that an https server is to be trusted by.
    """

    token: str | None = None
    certificate: Path | None = None

    @property
    def options(self) -> dict[str, Any]:
        """For pymilvus."""
        token = self.token or os.environ.get("MILVUS_TOKEN")
        found: dict[str, Any] = {"token": token} if token else {}
        return found | ({"server_pem_path": str(self.certificate)} if self.certificate else {})


def images_of_run(run: Path, data: str | None, root: Path | None) -> tuple[list["Found"], list[str]]:
    """Every image of a run's data set, and what there is to say of it."""
    from crossbatch.index.sources import found_in_data_set  # noqa: PLC0415

    loaded = data_of_run(run, data, root)
    return found_in_data_set(loaded), loaded.notes


def fill(
    folder: Path, source: Path, found: Sequence["Found"], milvus: Milvus, console: Console, uri: str = ""
) -> "Outcome":
    """Embed images into a gallery by the model of a run, or of the gallery itself; then its map and its database."""
    from crossbatch.encoder import load  # noqa: PLC0415  (imports torch)
    from crossbatch.index import kept_model  # noqa: PLC0415
    from crossbatch.index.database import bring_in_step  # noqa: PLC0415
    from crossbatch.index.description import Database, Model  # noqa: PLC0415
    from crossbatch.index.indexing import add  # noqa: PLC0415
    from crossbatch.index.milvus import LOCAL  # noqa: PLC0415
    from crossbatch.index.projection import draw_map  # noqa: PLC0415
    from crossbatch.index.writer import writing  # noqa: PLC0415

    refuse_other_folder(folder)
    own = folder.resolve() == source.resolve()
    encoder: Embedder = load(kept_model.kept(folder) if own else source)
    model = Model.of(encoder)
    database = Database(uri or LOCAL, f"crossbatch_{uuid.uuid4().hex[:12]}")
    with writing(folder, model, database) as writer:
        if writer.description.model != model:
            told = f"{folder} holds embeddings of {writer.description.model}, and {source} has {model}"
            raise RunError(f"{told}: they cannot be compared; index into another folder with --to")
        if uri and uri != writer.description.database.uri:
            raise RunError(f"{folder} has its database at {writer.description.database.uri}, not at {uri}")
        if not own:
            kept_model.keep(source, folder)
        outcome = add(writer, found, encoder)
        if draw_map(writer):
            console.print(f"map: {writer.description.map.method if writer.description.map else ''}", highlight=False)
        bring_in_step(writer, milvus.options)
    return outcome


def refuse_other_folder(folder: Path) -> None:
    """Refuse to make a gallery in a folder that holds something else."""
    from crossbatch.index.description import is_gallery  # noqa: PLC0415

    if folder.exists() and not folder.is_dir():
        raise RunError(f"{folder} is a file: name a folder for the gallery with --to")
    refuse_below_file(folder)
    if not folder.is_dir() or is_gallery(folder):
        return
    # A first call that was killed leaves these.
    if any(one.name not in ("lock", "model") and one.suffix != PARTIAL for one in folder.iterdir()):
        raise RunError(f"{folder} holds something that is no gallery: name a new folder with --to")


def lag(folder: Path) -> str:
    """What to say of a gallery whose database is behind its table; nothing where it is in step."""
    from crossbatch.index.description import read  # noqa: PLC0415

    known = read(folder)
    if known.database.revision == known.revision:
        return ""
    told = f"the database {folder / known.database.uri} is open in another process and stays behind the table"
    return f"{told}, which answers meanwhile: crossbatch index {folder} brings it in step once that process has ended"


def gallery_for(place: Path, data: str | None, root: Path | None, milvus: Milvus, console: Console) -> Path:
    """The gallery that a place is, or that of a run, into which its images are indexed first."""
    from crossbatch.index import description  # noqa: PLC0415

    if description.is_gallery(place):
        return place
    if not (place / runs.CONFIG).is_file():
        description.read(place)  # which says what to do
    folder = place / GALLERY
    if description.is_gallery(folder):
        known = description.read(folder)
        if known.database.revision == known.revision:
            return folder
    found, _ = images_of_run(place, data, root)
    console.print(f"indexing {len(found):,} images of {place} into {folder}", soft_wrap=True, highlight=False)
    show(console, fill(folder, place, found, milvus, console))
    return folder


def show(console: Console, outcome: "Outcome") -> None:
    """What became of the images."""
    told = f"{outcome.added:,} images embedded, {outcome.known:,} were there"
    told += f", {outcome.changed:,} of them under another label or path" if outcome.changed else ""
    told += f", {outcome.copies:,} are copies byte for byte" if outcome.copies else ""
    console.print(told, soft_wrap=True, highlight=False)
    for path, reason in list(outcome.unreadable.items())[:5]:
        console.print(f"left out: {path}: {reason}", soft_wrap=True, highlight=False)
    if len(outcome.unreadable) > 5:
        console.print(f"left out: {len(outcome.unreadable):,} images in all that cannot be read", highlight=False)

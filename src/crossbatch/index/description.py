"""gallery.json: the model of a gallery, the folders of its images, and the files of its table."""

import json
import os
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from crossbatch import durable, own_folders
from crossbatch.data.image_tree import holds_images
from crossbatch.errors import DataError, RunError
from crossbatch.index.milvus import LOCAL, is_server, refuse_secret
from crossbatch.typed import typed

FILE = own_folders.GALLERY
FORMAT = 1


@dataclass(frozen=True)
class Model:
    """The model that embedded the gallery; embeddings can be compared if their models are equal."""

    fingerprint: str
    backbone: str
    dim: int
    channels: int
    preprocessing: Mapping[str, Any]

    @classmethod
    def of(cls, encoder: Any) -> "Model":
        """The description of a loaded model."""
        about = encoder.description
        preprocessing = json.loads(json.dumps(about.preprocessing))  # tuples become lists, as when read from the file
        return cls(encoder.fingerprint, about.backbone, encoder.dim, about.channels, preprocessing)

    def __str__(self) -> str:
        size = self.preprocessing.get("size")
        shape = "×".join(map(str, size)) if isinstance(size, list) else f"{size}×{size}"
        return f"model {self.fingerprint} ({self.backbone}, {shape} pixels, {self.dim} numbers)"


@dataclass(frozen=True)
class Root:
    """A folder of images, by two paths: relative to the gallery, and absolute; one fits after either has moved."""

    relative: str
    absolute: str

    @classmethod
    def of(cls, folder: Path, gallery: Path) -> "Root":
        """The two paths of a folder."""
        absolute = os.path.realpath(folder)
        return cls(os.path.relpath(absolute, os.path.realpath(gallery)), absolute)

    def names(self, gallery: Path) -> list[Path]:
        """Where the relative and the absolute path lead to, in this order, whether a folder is there or not."""
        seen = Path(os.path.realpath(gallery / self.relative))
        return list(dict.fromkeys((seen, Path(self.absolute))))

    def places(self, gallery: Path) -> list[Path]:
        """Folders that exist at the relative and at the absolute path, in this order; empty if both are gone."""
        return [place for place in self.names(gallery) if place.is_dir()]

    def now(self, gallery: Path) -> Path | None:
        """The absolute path if it exists, else the one relative to the gallery if that exists, else None."""
        return next(reversed(self.places(gallery)), None)


@dataclass(frozen=True)
class Map:
    """The map: its file, its method ("umap" or "pca"), and the number of images that the method was fitted to."""

    file: str
    method: str
    fitted: int


@dataclass(frozen=True)
class Database:
    """The Milvus database that holds a copy of the table.

    `kind`: "FLAT" or "HNSW", its index. `revision`: revision of the gallery at the last copy, −1 before the first.
    `recall_at_10`: as measured after that copy.
    """

    uri: str
    collection: str
    kind: str = ""
    revision: int = -1
    recall_at_10: float | None = None


@dataclass(frozen=True)
class Description:
    """The content of gallery.json; `revision` rises with each change of the table or the map."""

    model: Model
    database: Database
    revision: int = 0
    roots: tuple[Root, ...] = ()
    parts: tuple[str, ...] = ()
    next_part: int = 1
    map: Map | None = None
    format: int = field(default=FORMAT)

    @property
    def name(self) -> str:
        """A unique name of the gallery; a copy keeps it, a gallery made again in the same folder gets another."""
        return self.database.collection

    @property
    def version(self) -> str:
        """A text that differs after every change; only a copy of the gallery can have the same."""
        return f"{self.name}-{self.revision}"

    def changed(self, **values: Any) -> "Description":
        """The description of the next revision, with these values replaced."""
        return replace(self, revision=self.revision + 1, **values)


def is_gallery(folder: Path) -> bool:
    """Whether a folder is a gallery: it has a gallery.json."""
    return (folder / FILE).is_file()


def read(folder: Path) -> Description:
    """Read the description of a gallery; `DataError` or `RunError` if it is missing or cannot be used."""
    try:
        plain = json.loads((folder / FILE).read_text(encoding="utf-8"))
        _require_format(folder, plain.get("format"))
        described = Description(
            Model(**plain["model"]),
            Database(**plain["database"]),
            int(plain["revision"]),
            tuple(Root(**root) for root in plain["roots"]),
            tuple(map(str, plain["parts"])),
            int(plain["next_part"]),
            Map(**plain["map"]) if plain["map"] else None,
        )
        return _with_own_files(described)
    except (FileNotFoundError, NotADirectoryError):
        raise DataError(_no_gallery(folder)) from None
    except RunError:
        raise
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError, OverflowError) as error:
        raise DataError(
            f"{folder / FILE} cannot be read ({error}): index the images anew, into a new folder"
        ) from error


def _no_gallery(folder: Path) -> str:
    """The sentence for a folder that is not a gallery."""
    if not folder.exists():
        return f"there is no folder {folder}: give a run folder, or a gallery"
    if holds_images(folder):
        return (
            f"{folder} is a folder of images: give the run folder of a model, or a gallery, as "
            f"crossbatch index RUN {typed(folder)} --to GALLERY makes of these images"
        )
    way_out = "give a run folder, or a gallery, as crossbatch index RUN IMAGES --to GALLERY makes"
    return f"{folder} is neither a run folder nor a gallery ({FILE} is missing): {way_out}"


def _with_own_files(found: Description) -> Description:
    """Refuse files outside the gallery, which may be a stranger's: its files are rewritten and removed."""
    for name in [*found.parts, *([found.map.file] if found.map else [])]:
        if not re.fullmatch(r"(part|map)-\d+\.parquet", name):
            raise ValueError(f"{name!r} is no file of a gallery")
    refuse_secret(found.database.uri)
    if found.database.uri != LOCAL and not is_server(found.database.uri):
        raise ValueError(f"{found.database.uri!r} is neither {LOCAL} nor the address of a server")
    return found


def _require_format(folder: Path, found: Any) -> None:
    if found != FORMAT:
        problem = f"{folder} has format {found} and this version reads {FORMAT}"
        raise RunError(f"{problem}: use the version that wrote it, or index the images anew")


def write(folder: Path, description: Description) -> None:
    """Replace gallery.json as a whole, once the new one is flushed to disk."""
    durable.write_text(folder / FILE, json.dumps(asdict(description), indent=1, ensure_ascii=False))

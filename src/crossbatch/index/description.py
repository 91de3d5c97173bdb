"""gallery.json: the model a gallery is of, the folders its images lie in, and the files that are its table."""

import json
import os
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from crossbatch import durable
from crossbatch.errors import DataError, RunError
from crossbatch.index.milvus import LOCAL, is_server, refuse_secret
from crossbatch.typed import typed

FILE = "gallery.json"
FORMAT = 1


@dataclass(frozen=True)
class Model:
    """What a row of the gallery was embedded by: two galleries with the same have embeddings that can be compared."""

    fingerprint: str
    backbone: str
    dim: int
    channels: int
    preprocessing: Mapping[str, Any]

    @classmethod
    def of(cls, encoder: Any) -> "Model":
        """Of a loaded model."""
        about = encoder.description
        preprocessing = json.loads(json.dumps(about.preprocessing))  # tuples as the file gives them back
        return cls(encoder.fingerprint, about.backbone, encoder.dim, about.channels, preprocessing)

    def __str__(self) -> str:
        size = self.preprocessing.get("size")
        shape = "×".join(map(str, size)) if isinstance(size, list) else f"{size}×{size}"
        return f"model {self.fingerprint} ({self.backbone}, {shape} pixels, {self.dim} numbers)"


@dataclass(frozen=True)
class Root:
    """A folder that images lie in, as seen from the gallery and by itself: one still fits when either has moved."""

    relative: str
    absolute: str

    @classmethod
    def of(cls, folder: Path, gallery: Path) -> "Root":
        """The folder, from a gallery."""
        absolute = os.path.realpath(folder)
        return cls(os.path.relpath(absolute, os.path.realpath(gallery)), absolute)

    def places(self, gallery: Path) -> list[Path]:
        """Where it may be now: as seen from the gallery, and where it was; none if it is gone."""
        seen = Path(os.path.realpath(gallery / self.relative))
        return [place for place in dict.fromkeys((seen, Path(self.absolute))) if place.is_dir()]

    def now(self, gallery: Path) -> Path | None:
        """Where it was if that is still there, else where it has moved to with the gallery; None if it is gone."""
        return next(reversed(self.places(gallery)), None)


@dataclass(frozen=True)
class Map:
    """The file with a place of each image in the plane, how it was found, and how many images it was found from."""

    file: str
    method: str
    fitted: int


@dataclass(frozen=True)
class Database:
    """The Milvus database beside the table: where, under which name, as of which revision, and how well it searches."""

    uri: str
    collection: str
    kind: str = ""
    revision: int = -1
    recall_at_10: float | None = None


@dataclass(frozen=True)
class Description:
    """All that is known of a gallery without reading its table; `revision` rises with each change."""

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
        """What no other gallery is called, made anew in the same folder neither; a copy keeps it."""
        return self.database.collection

    @property
    def version(self) -> str:
        """Changes with every change; no other gallery has the same, nor one made anew in the same folder."""
        return f"{self.name}-{self.revision}"

    def changed(self, **values: Any) -> "Description":
        """The next revision, with other values."""
        return replace(self, revision=self.revision + 1, **values)


def is_gallery(folder: Path) -> bool:
    """Whether a folder is a gallery, by its description."""
    return (folder / FILE).is_file()


def read(folder: Path) -> Description:
    """The description of a gallery."""
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
    except FileNotFoundError:
        told = f"{folder} is no gallery: {FILE} is missing"
        raise DataError(f"{told}; make one with crossbatch index RUN IMAGES --to {typed(folder)}") from None
    except RunError:
        raise
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError, OverflowError) as error:
        raise DataError(
            f"{folder / FILE} cannot be read ({error}): index the images anew, into a new folder"
        ) from error


def _with_own_files(found: Description) -> Description:
    """Refuse names that lead out of the gallery: its files are rewritten and removed, and it may be a stranger's."""
    for name in [*found.parts, *([found.map.file] if found.map else [])]:
        if not re.fullmatch(r"(part|map)-\d+\.parquet", name):
            raise ValueError(f"{name!r} is no file of a gallery")
    refuse_secret(found.database.uri)
    if found.database.uri != LOCAL and not is_server(found.database.uri):
        raise ValueError(f"{found.database.uri!r} is neither {LOCAL} nor the address of a server")
    return found


def _require_format(folder: Path, found: Any) -> None:
    if found != FORMAT:
        told = f"{folder} has format {found} and this version reads {FORMAT}"
        raise RunError(f"{told}: use the version that wrote it, or index the images anew")


def write(folder: Path, description: Description) -> None:
    """Replace the description whole, on the disk before it counts."""
    durable.write_text(folder / FILE, json.dumps(asdict(description), indent=1, ensure_ascii=False))

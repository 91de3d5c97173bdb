"""Evaluation of a trained model on other labelled images: each among the others, or queries in a gallery."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from crossbatch import data, runs
from crossbatch.data import LISTINGS, name_for
from crossbatch.data.copies import copies
from crossbatch.data.data_set import DataSet, Part
from crossbatch.data.image_files import FileImages
from crossbatch.data.labelled_files import GALLERY, QUERY
from crossbatch.data.listing import Listed, listed
from crossbatch.data.split import Split
from crossbatch.encoder import Encoder, load
from crossbatch.errors import DataError, ShapeError
from crossbatch.harmless import shown
from crossbatch.metrics import Retrieval, effective_dimensions, evaluate
from crossbatch.metrics.retrieval import refuse_ks
from crossbatch.training.part_search import Searched
from crossbatch.training.part_tables import of_classes, worst_queries
from crossbatch.training.started_from import trained_classes


class Given(NamedTuple):
    """Labelled images; `query` and `gallery` are masks [images], alike where each image is searched among the others.

    `ids` [images]: equal for an image that is both query and gallery, which is not its own hit.
    """

    images: list[Listed]
    labels: Tensor
    names: list[str]
    ids: Tensor
    query: Tensor
    gallery: Tensor

    def search(self, rows: Tensor, readable: Tensor, ks: Sequence[int]) -> Searched:
        """Search the readable queries among the readable images of the gallery; `rows`: embeddings [images, dim]."""
        query, gallery = (
            (rows[mask], self.labels[mask], self.ids[mask]) for mask in (self.query & readable, self.gallery & readable)
        )
        return Searched(query, gallery, evaluate(*query, *gallery, ks=ks))


def evaluate_on(
    model: Path, sources: Sequence[Path], ks: Sequence[int] = (), among: Sequence[Path] = ()
) -> dict[str, Any]:
    """Embed labelled images and search them; nothing is written. Unreadable images are named.

    Each image is searched among the others. If `among` names images, or if the sources have images of both roles query
    and gallery, the queries are searched in that gallery.

    Args:
        model: Run folder, a folder of `save_pretrained`, or an ONNX file.
        sources: Folders with a folder for each class, or tables of path,label.
        ks: The K of Recall@K beside 1.
        among: The gallery, if it is not in `sources`: folders and tables alike.

    Returns:
        Metrics; those of the weights before training too, where a run has kept them; rows of classes and worst queries.

    Raises:
        DataError: An image has no label, or no query has an image of its class to find.
    """
    ks = sorted({1, *(ks or DataSet.ks)})
    refuse_ks(ks)
    given, notes = _given(sources, among)
    encoder = load(model)
    rows, unreadable = _rows(encoder, given.images)
    readable = torch.ones(len(given.images), dtype=torch.bool)
    readable[list(unreadable)] = False
    try:
        searched = given.search(rows, readable, ks)
    except ShapeError as error:
        path, why = next(((given.images[place].path, why) for place, why in unreadable.items()), (None, ""))
        unread = f"; images that cannot be read: {len(unreadable):,}, as {shown(path)}: {why}" if path else ""
        raise DataError(f"{error}{unread}") from error
    found, labels = searched.measured, searched.query[1]
    apart = not torch.equal(given.query, given.gallery)
    trained = trained_classes(model) if model.is_dir() else set(encoder.description.class_names)
    if trained := trained & set(given.names):
        count = f"{len(trained):,} of these {len(given.names):,} classes"
        notes.append(f"the model was trained on {count}, by their names")

    def measured(rows: Tensor, found: Retrieval | None = None) -> dict[str, float]:
        found = found or given.search(rows, readable, ks).measured
        return {**found.summary(), "effective_dimensions": effective_dimensions(rows[readable])}

    before = None
    if (model / runs.START).is_file():
        before = measured(_rows(load(model, weights=runs.START), given.images)[0])
    alone = torch.ones(len(labels), dtype=torch.bool)
    alone[found.query_positions] = False
    name = {int(one): image.name for one, image in zip(given.ids, given.images, strict=True)}
    return {
        **measured(rows, found),
        "cut": {str(length): measured(rows[:, :length]) for length in encoder.description.dims[:-1]},
        "before_training": before,
        "model": encoder.fingerprint,
        "queries": found.queries,
        "left_out": found.left_out,
        "classes_left_out": [given.names[label] for label in labels[alone].unique().tolist()],
        "alone": not apart,
        "gallery": len(searched.gallery[1]),
        "classes": len(labels.unique()),
        "unreadable": [{"path": shown(given.images[place].path), "reason": why} for place, why in unreadable.items()],
        "notes": notes,
        "of_classes": of_classes(searched, given.names),
        "worst_queries": worst_queries(searched, given.names, name.__getitem__),
    }


def _given(sources: Sequence[Path], among: Sequence[Path]) -> tuple[Given, list[str]]:
    """The images of all sources, divided into queries and gallery; and notes."""
    images, notes = _listed(sources)
    roles = {image.role for image in images}
    if among:
        shelf, more = _listed(among)
        notes += [note for note in more if note not in notes]
        images = _as(QUERY, images) + _as(GALLERY, shelf)
    elif {QUERY, GALLERY} <= roles:
        kept = [image for image in images if image.role in (QUERY, GALLERY)]
        if len(kept) < len(images):
            notes.append(f"images left out, since they are neither query nor gallery: {len(images) - len(kept):,}")
        images = kept
    else:
        if len(roles) > 1:
            notes.append("the roles of the images are not read here, but for query and gallery")
        images = list({image.path: image._replace(role=None) for image in images}.values())
    labels, names = _labels(images)
    ids = _ids(images)
    notes += _twins([image for place, image in enumerate(images) if ids[place] == place])
    if len(names) == 1:
        notes.append("there is one class, so R@1 is 1 for any model: bring more")
    query, gallery = (torch.tensor([image.role in (role, None) for image in images]) for role in (QUERY, GALLERY))
    return Given(images, labels, names, torch.tensor(ids), query, gallery), notes


def _as(role: str, images: Sequence[Listed]) -> list[Listed]:
    """The images in this role: those that have it where both roles are given, else all."""
    divided = {QUERY, GALLERY} <= {image.role for image in images}
    return [image._replace(role=role) for image in images if not divided or image.role == role]


def _ids(images: Sequence[Listed]) -> list[int]:
    """A number for each image; equal for the same file."""
    first: dict[Path, int] = {}
    return [first.setdefault(image.path.resolve(), place) for place, image in enumerate(images)]


def _listed(sources: Sequence[Path]) -> tuple[list[Listed], list[str]]:
    """List the images of sources, without those that lie beside the class folders instead of in one; and notes."""
    release = name_for(sources[0])
    if release in LISTINGS and len(sources) == 1:
        return _of_release(sources[0], release)
    images, notes = listed(sources, roles=True)
    folders = {source for source in sources if source.is_dir()}
    bare = [image for image in images if image.label is None]
    stray = [image for image in bare if image.path.parent == image.root and image.root in folders]
    kept = [image for image in images if image.label is not None]
    if not stray or not kept or len(stray) < len(bare):
        return images, notes
    lie = "1 image lies" if len(stray) == 1 else f"{len(stray):,} images lie"
    return kept, [*notes, f"{lie} beside the class folders, left out, as {shown(stray[0].path)}"]


def _of_release(root: Path, name: str) -> tuple[list[Listed], list[str]]:
    """The first test list of a published data set, by its own listing."""
    loaded = data.load(name, root, Split(complete=False))
    part, search = next(iter(loaded.tests.items()))
    files = loaded.images
    assert isinstance(files, FileImages)  # noqa: S101

    def images_of(part: Part, role: str | None) -> list[Listed]:
        return [
            Listed(Path(files.paths[image]), loaded.class_names[label], files.root, role=role)
            for label, image in zip(part.labels.tolist(), part.ids.tolist(), strict=True)
        ]

    if search.gallery is None:
        images = images_of(search.query, None)
    else:
        images = images_of(search.query, QUERY) + images_of(search.gallery, GALLERY)
    return images, [f"measured on the {part} part of {name}", *loaded.notes]


def _labels(images: Sequence[Listed]) -> tuple[Tensor, list[str]]:
    """Label of each image [images], and the names of the classes."""
    bare = [image for image in images if image.label is None]
    if bare:
        raise DataError(
            f"{len(bare):,} of {len(images):,} images have no label, such as {shown(bare[0].path)}: give a folder with "
            "a folder for each class, or a table of path,label"
        )
    classes = [str(image.label) for image in images]
    names = sorted(set(classes))
    place = {name: label for label, name in enumerate(names)}
    return torch.tensor([place[name] for name in classes]), names


def _twins(images: Sequence[Listed]) -> list[str]:
    """A note on identical files, which raise R@1, since each is found by the other; none without such files."""
    sizes = [image.path.stat().st_size if image.path.is_file() else 0 for image in images]
    groups = copies([image.path for image in images], sizes)
    if not groups:
        return []
    one, other = (shown(images[place].path) for place in groups[0][:2])
    return [
        f"{sum(map(len, groups)):,} files are copies byte for byte of each other, as {one} and {other}: R@1 is too high"
    ]


def _rows(encoder: Encoder, images: Sequence[Listed]) -> tuple[Tensor, dict[int, str]]:
    """Embeddings float32 [images, dim], NaN where an image cannot be read; and the reasons by position."""
    rows, unreadable = encoder.embed_readable([image.path for image in images])
    return torch.from_numpy(rows), unreadable

"""A user's own images: one folder per class, or such folders below train/, val/, test/, query/ and gallery/."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from crossbatch.data import TABLES
from crossbatch.data.data_set import DataSet
from crossbatch.data.image_files import as_label
from crossbatch.data.image_tree import SUFFIXES, Tree, leads
from crossbatch.data.labelled_files import GALLERY, QUERY, ROLES, TEST, TRAIN, VALIDATION, Row, build
from crossbatch.data.roots import with_notes, wrong_root
from crossbatch.data.split import Split
from crossbatch.errors import DataError
from crossbatch.harmless import shown

ROLE_OF = {
    "train": TRAIN,
    "training": TRAIN,
    "val": VALIDATION,
    "valid": VALIDATION,
    "validation": VALIDATION,
    "test": TEST,
    "testing": TEST,
    "query": QUERY,
    "gallery": GALLERY,
}


def load(root: Path | None, split: Split | None = None) -> DataSet:
    """Read `root/CLASS/…image`, or `root/PART/CLASS/…image`, with folders named after the parts of the data set.

    Folders of parts are `train`, `val` (or `valid`, `validation`), `test`, `query` and `gallery`. Several of them are
    read as parts if one is `train` and no other folder of the root has images. `query` and `gallery` are also read as
    parts beside training classes in the root itself. If there is no test or no validation part, whole training classes
    are held out for it.
    """
    if root is None or not root.is_dir():
        takes = "a folder with one folder of images per class; a table is .csv, .tsv, .parquet or .jsonl"
        way_out = ": save any other table as .csv" if root is not None and root.is_file() else ""
        raise wrong_root("folder", root, f"{takes}{way_out}")
    tree = Tree()
    folders = {folder.name: folder for folder in tree.classes(root)}
    places, notes = _places(root, folders)
    rows: list[Row] = []
    images: dict[Path, list[Path]] = {}
    for role, place in places:
        classes = list(folders.values()) if place == root else tree.classes(place)
        tree.beside(place)
        if place == root:
            classes = [folder for folder in classes if (len(places) == 1) or folder.name not in (QUERY, GALLERY)]
        found = {folder: tree.images(folder) for folder in classes}
        if not any(found.values()) and (place != root or len(places) == 1):
            _refuse_empty(place, [*tree.notes(), *_tables(root)])
        rows += [Row(path, as_label(folder.name), role, shown(path)) for folder in found for path in found[folder]]
        images |= found
    _refuse_one_folder(rows, root, folders)
    notes = [*notes, *_deeper(images), *tree.notes(), *(_tables(root) if sum(map(bool, images.values())) == 1 else [])]
    return build("folder", root, rows, split or Split(), notes)


def _places(root: Path, folders: dict[str, Path]) -> tuple[list[tuple[str, Path]], list[str]]:
    """The folder of each role; and a note on how the folders were read, if that is not obvious."""
    if (QUERY in folders) != (GALLERY in folders):
        raise DataError(f"{root} has only one of query/ and gallery/: bring both, or neither to have a test part made")
    roles = {name: ROLE_OF[name.lower()] for name in folders if name.lower() in ROLE_OF}
    divided, others = len(roles) > 1 and TRAIN in roles.values(), list[str]()
    if divided and len(roles) < len(folders):
        divided = not any(_has_images(folders[name]) for name in roles)  # else they are classes of these names
        others = [name for name in folders if name not in roles and Tree().images(folders[name])]
        if divided and others and QUERY not in folders:
            raise DataError(
                f"{root} has {', '.join(f'{name}/' for name in roles)} beside {others[0]}/, which holds images too: "
                "move it elsewhere if it is not to be read, or rename the others if all are classes"
            )
    if divided and len(set(roles.values())) < len(roles):
        raise DataError(f"{root} has several folders for one part, {', '.join(roles)}: keep one of each")
    if divided and {TEST, QUERY} <= set(roles.values()):
        raise DataError(f"{root} has test/ beside query/ and gallery/: keep the one that is the test part")
    if divided:
        ordered = sorted(roles.items(), key=_in_order)
        shown_roles = ", ".join(f"{name}/" if name == role else f"{name}/ ({role})" for name, role in ordered)
        notes = [] if {QUERY, GALLERY, TRAIN} == set(roles.values()) else [f"read as divided already: {shown_roles}"]
        notes += [f"{name}/ holds images and is no part: they are not read" for name in others]
        return [(role, folders[name]) for name, role in ordered], notes
    if QUERY in folders:
        training = folders.get(TRAIN, root)
        return [(TRAIN, training), (QUERY, folders[QUERY]), (GALLERY, folders[GALLERY])], []
    return [(TRAIN, root)], []


def _has_images(folder: Path) -> bool:
    """Tell whether images lie directly in a folder, as in the folder of a class."""
    return any(entry.suffix.lower() in SUFFIXES and leads(entry.is_file) for entry in folder.iterdir())


def _in_order(named: tuple[str, str]) -> int:
    return ROLES.index(named[1])


def _deeper(images: Mapping[Path, Sequence[Path]]) -> list[str]:
    """A note if at least half of the class folders hold several folders with images.

    `images`: paths of the images of each class folder.
    """
    places = {folder: [path.relative_to(folder).parts for path in paths] for folder, paths in images.items() if paths}
    inner = {folder: {place[0] for place in found if len(place) > 1} for folder, found in places.items()}
    deep = [folder for folder, names in inner.items() if len(names) > 1]
    if len(deep) < 2 or 2 * len(deep) < len(places):
        return []
    first = min(deep)
    example = shown(Path(first.name, min(inner[first])))
    which = f"all {len(deep):,}" if len(deep) == len(places) else f"{len(deep):,} of the {len(places):,}"
    return [
        f"{which} class folders hold folders of their own ({example}, …): each is read as ONE class. If the "
        "inner folders are your classes, move them one level up, or list the images in a table of path,label"
    ]


def _tables(root: Path) -> list[str]:
    """A note that names the tables in a root; they may label the images."""
    tables = sorted(shown(file.name) for file in root.iterdir() if file.suffix.lower() in TABLES)
    named = ", ".join(tables[:5]) + (", …" if len(tables) > 5 else "")
    return [f"if a table here has the columns path and label, give it as ROOT: {named}"] if tables else []


def _refuse_empty(place: Path, notes: Sequence[str]) -> None:
    expected = f"expected one folder per class with {', '.join(sorted(SUFFIXES))} files, or a table of path,label"
    raise with_notes(f"no images in {place}: {expected}", notes)


def _refuse_one_folder(rows: list[Row], root: Path, folders: dict[str, Path]) -> None:
    """Refuse a root with a single folder that holds several folders: these are probably the classes."""
    if len(folders) == 1 and rows:
        (only,) = folders.values()
        inner = [folder.name for folder in Tree().classes(only)]
        if len(inner) > 1:
            raise DataError(
                f"{root} has one folder, {only.name}, and that has {len(inner)}: if these are the classes, "
                f"give {only} as ROOT"
            )

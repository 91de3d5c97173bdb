"""A user's own images: one folder per class, or such folders below train/, val/, test/, query/ and gallery/."""

from pathlib import Path

from crossbatch.data.data_set import DataSet
from crossbatch.data.image_files import as_label
from crossbatch.data.image_tree import SUFFIXES, Tree, leads
from crossbatch.data.labelled_files import GALLERY, QUERY, ROLES, TEST, TRAIN, VALIDATION, Row, build
from crossbatch.data.roots import wrong_root
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
        raise wrong_root(
            "folder", root, "a folder with one folder of images per class; a table is .csv, .tsv, .parquet or .jsonl"
        )
    tree = Tree()
    folders = {folder.name: folder for folder in tree.classes(root)}
    places, notes = _places(root, folders)
    rows = []
    for role, place in places:
        classes = list(folders.values()) if place == root else tree.classes(place)
        tree.beside(place)
        if place == root:
            classes = [folder for folder in classes if (len(places) == 1) or folder.name not in (QUERY, GALLERY)]
        place_rows = [
            Row(path, as_label(folder.name), role, shown(path)) for folder in classes for path in tree.images(folder)
        ]
        if not place_rows and (place != root or len(places) == 1):
            _refuse_empty(place, tree)
        rows += place_rows
    _refuse_one_folder(rows, root, folders)
    return build("folder", root, rows, split or Split(), [*notes, *tree.notes()])


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


def _refuse_empty(place: Path, tree: Tree) -> None:
    left_out = "; ".join(tree.notes())
    expected = f"expected one folder per class with {', '.join(sorted(SUFFIXES))} files"
    raise DataError(f"no images in {place}: {expected}{f' ({left_out})' if left_out else ''}")


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

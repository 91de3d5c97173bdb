"""`crossbatch inspect`: what a data set holds."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from rich.console import Console

from crossbatch import data as data_sets
from crossbatch.commands.output import print_table
from crossbatch.data.augment import Augment
from crossbatch.data.split import Split
from crossbatch.durable import whole
from crossbatch.errors import RunError

SHOWN = 20  # most cases of a kind that are printed; --json prints all

if TYPE_CHECKING:
    from PIL.Image import Image

    from crossbatch.data.data_set import DataSet  # imports Pillow


def inspect(
    root: Path | None = None,
    data: str | None = None,
    fonts: list[Path] = [],  # noqa: B006  (the parser shows it and never changes it)
    script: Literal["han"] | None = None,
    split: Split = Split(complete=False),  # noqa: B008  (frozen)
    augment: Augment = Augment(),  # noqa: B008  (frozen)
    sheet: Path | None = None,
    augmented: Path | None = None,
    decode: bool = False,
    near_copies: bool = False,
    *,
    console: Console,
) -> dict[str, Any]:
    """Show what a data set holds, how it is divided, and what is wrong with it: files, labels, copies.

    Args:
        root: Where the images are.
        data: glyphs, folder, csv, sop, in_shop, vehicle_id, cub or cars, or the path of a function of your own; by
            default what ROOT is.
        fonts: A font file, or a folder with fonts in it, to draw glyphs from; once per place.
        script: Draw the characters of this script only.
        split: Division of the classes.
        augment: Random changes of the training images, for --augmented.
        sheet: Write a contact sheet, one row per class with its name, to this PNG file.
        augmented: Write what the small network sees in training to this PNG file: a row per image, as in evaluation and
            then as training changes it.
        decode: Decode every file in full instead of reading only its header; takes minutes for large sets.
        near_copies: List images that look the same at 24 by 24 grey pixels; reads every file.
    """
    from crossbatch.data.contact_sheet import contact_sheet  # noqa: PLC0415  (imports Pillow)

    _require_png({"--sheet": sheet, "--augmented": augmented})
    name = data or data_sets.name_for(root)
    loaded = data_sets.load(name, root, split, fonts, script)
    counts = {name: part.counts for name, part in loaded.parts.items()}
    if sheet is not None:
        _save(contact_sheet(loaded), sheet)
    header = ["part", "images", "classes", "fewest per class", "median", "most", "classes of one image"]
    rows = [[name, *(f"{value:,}" for value in count.values())] for name, count in counts.items()]
    print_table(console, f"{data_sets.called(loaded.name, root)} (fingerprint {loaded.fingerprint})", header, rows)
    _show_published(console, loaded)
    few = ["one class is left to train on, and train refuses that: bring five classes or more"]
    for note in [*loaded.notes, *(few if loaded.train.classes == 1 else [])]:
        console.print(note)
    problems = _problems(loaded, decode=decode, near=near_copies)
    for kind, cases in problems.items():
        _show_problem(console, kind, cases)
    if near_copies and not problems["near copies"]:
        console.print("near copies: none")
    if sheet is not None:
        console.print(f"contact sheet: {sheet}")
    if augmented is not None:
        _show_augmented(console, loaded, name, augment, augmented)
    described = {"data": loaded.name, "fingerprint": loaded.fingerprint, "parts": counts, "notes": loaded.notes}
    described |= {"problems": problems}
    return described | ({"published": dict(loaded.expected)} if loaded.expected else {})


def _require_png(files: dict[str, Path | None]) -> None:
    for option, file in files.items():
        if file is not None and file.suffix.lower() != ".png":
            raise RunError(f"a sheet is a PNG file: {option} {file.with_suffix('.png')}, got {file}")


def _save(image: "Image", file: Path) -> None:
    """Write a PNG file as a whole; if that fails, an older file stays."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with whole(file) as opened:
        image.save(opened, "PNG")


def _show_augmented(console: Console, loaded: "DataSet", name: str, augment: Augment, file: Path) -> None:
    """Write the sheet of augmented images, and print the augmentation with its reasons."""
    from crossbatch.training.augmented_sheet import augmented_sheet  # noqa: PLC0415  (imports Lightning)
    from crossbatch.training.plan import images_of, print_plan  # noqa: PLC0415
    from crossbatch.training.run_parts import build_parts  # noqa: PLC0415
    from crossbatch.training.settings import BatchSettings, LoopSettings, Settings  # noqa: PLC0415

    loop, smallest = LoopSettings(on_corrupt="skip"), BatchSettings(1, 2)  # no batch is drawn
    parts = build_parts(Settings(data=name, augment=augment, loop=loop, batch=smallest), loaded)
    _save(augmented_sheet(parts), file)
    print_plan(console, images_of(parts))
    console.print(f"what the network sees: {file}")


def _problems(loaded: "DataSet", *, decode: bool, near: bool) -> dict[str, list[list[str]]]:
    """Problems by kind. A case is a list of the names of its images; an unreadable image is followed by the reason."""
    from crossbatch.data import near_copies  # noqa: PLC0415
    from crossbatch.data.checking import unreadable  # noqa: PLC0415
    from crossbatch.data.image_files import FileImages  # noqa: PLC0415

    images = loaded.images
    reasons = unreadable(images, "decode" if decode else "header") if isinstance(images, FileImages) else {}
    problems = {
        "unreadable": [[images.name(number), reason] for number, reason in reasons.items()],
        "copies": [[images.name(number) for number in group] for group in loaded.copies],
    }
    if near:
        known = {frozenset(group) for group in loaded.copies}
        groups = [group for group in near_copies.near_copies(images) if frozenset(group) not in known]
        problems["near copies"] = [[images.name(number) for number in group] for group in groups]
    return problems


def _show_problem(console: Console, what: str, found: list[list[str]]) -> None:
    """Print a table of the first cases of a kind of problem; nothing without cases."""
    if found:
        rows = [[case[0], ", ".join(case[1:4]) + (", …" if len(case) > 4 else "")] for case in found[:SHOWN]]
        more = f", the first {SHOWN}" if len(found) > SHOWN else ""
        print_table(
            console, f"{what}: {len(found):,}{more}", ["image", "reason" if what == "unreadable" else "and"], rows
        )


def _show_published(console: Console, loaded: "DataSet") -> None:
    """Print counts beside those of the published data set; validation classes count as training classes."""
    if not loaded.expected:
        return
    here = {**loaded.parts, "train": loaded.train + loaded.validation}
    rows = []
    for name, published in loaded.expected.items():
        images, classes = ("not known" if count is None else f"{count:,}" for count in published)
        rows.append([name, f"{len(here[name]):,}", images, f"{here[name].classes:,}", classes])
    header = ["part", "images", "published", "classes", "published"]
    print_table(console, "here, and in the release", header, rows)

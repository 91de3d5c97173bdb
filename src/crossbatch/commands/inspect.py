"""`crossbatch inspect`: what a data set holds."""

from pathlib import Path

from crossbatch import data as data_sets
from crossbatch.commands.output import console_for, print_json, print_table
from crossbatch.data.split import Split
from crossbatch.errors import RunError


def inspect(
    data: str = "glyphs",
    root: Path | None = None,
    split: Split = Split(),  # noqa: B008  (frozen)
    sheet: Path | None = None,
    json: bool = False,
) -> int:
    """Tell what a data set holds: images, classes, images per class, and how it is divided.

    Args:
        data: glyphs, folder or csv.
        root: Where a folder or csv data set is.
        split: Division of the classes.
        sheet: Write a contact sheet, one row a class, to this PNG file.
        json: Print the counts as JSON, and nothing else, on standard output.
    """
    from crossbatch.data.contact_sheet import contact_sheet  # noqa: PLC0415  (imports Pillow)
    from crossbatch.training.evaluation import describe_part  # noqa: PLC0415

    loaded = data_sets.load(data, root, split)
    parts = {"train": loaded.train, "validation": loaded.validation, "query": loaded.query, "gallery": loaded.gallery}
    counts = {name: describe_part(part) for name, part in parts.items() if part is not None and len(part)}
    if sheet is not None:
        if sheet.suffix.lower() != ".png":
            raise RunError(f"a contact sheet is a PNG file: --sheet {sheet.with_suffix('.png')}, got {sheet}")
        sheet.parent.mkdir(parents=True, exist_ok=True)
        contact_sheet(loaded).save(sheet)
    if json:
        print_json({"data": loaded.name, "fingerprint": loaded.fingerprint, "parts": counts, "notes": loaded.notes})
        return 0
    console = console_for(json)
    header = ["part", "images", "classes", "fewest per class", "median", "most", "classes of one image"]
    rows = [[name, *(f"{value:,}" for value in count.values())] for name, count in counts.items()]
    print_table(console, f"{loaded.name} (fingerprint {loaded.fingerprint})", header, rows)
    for note in loaded.notes:
        console.print(note, highlight=False)
    if sheet is not None:
        console.print(f"contact sheet: {sheet}", highlight=False)
    return 0

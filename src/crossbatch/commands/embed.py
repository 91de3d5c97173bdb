"""`crossbatch embed RUN IMAGES`: write the embeddings of many images to a file."""

from pathlib import Path
from typing import Any, Literal

from rich.console import Console

from crossbatch.commands.output import continuable, refuse_below_file
from crossbatch.errors import SettingError, UnreadableError
from crossbatch.typed import typed


def embed(
    run: Path,
    images: list[Path],
    out: Path = Path("rows.parquet"),
    on_corrupt: Literal["refuse", "skip"] = "refuse",
    half: bool = False,
    device: str | None = None,
    *,
    console: Console,
) -> dict[str, Any]:
    """Embed images into a table of id, path, label and embedding.

    If it is stopped or killed, the same command continues.

    Args:
        run: Run folder, a folder of save_pretrained, an ONNX file, or hf://owner/name.
        images: Image files, folders of them, or tables (.csv, .tsv, .parquet, .jsonl) of path and, if known, label. A
            folder below a folder names the label.
        out: File to write: .parquet, or .npz for NumPy.
        on_corrupt: Whether an image that cannot be read is refused or skipped; it is named in both cases.
        half: Compute in half precision.
        device: As torch names it, such as cuda:1; by default the GPU where there is one.
    """
    from crossbatch.data.listing import listed  # noqa: PLC0415  (imports Pillow)
    from crossbatch.encoder import load  # noqa: PLC0415
    from crossbatch.encoder.row_file import refuse_name, write_rows  # noqa: PLC0415

    if not images:
        raise SettingError(f"give images to embed: crossbatch embed {typed(run)} FOLDER --out {typed(out)}")
    refuse_name(out)
    refuse_below_file(out)
    listing, notes = listed(images)
    encoder = load(run, device=device, half=half)
    for note in notes:
        console.print(f"note: {note}")
    try:
        with continuable():
            gaps = write_rows(out, encoder, listing, skip=on_corrupt == "skip")
    except UnreadableError as error:
        raise UnreadableError(error.reason, "leave it out, or give --on_corrupt skip") from error
    for reason in gaps.values():
        console.print(f"left out: {reason}")
    line = f"{len(listing) - len(gaps):,} rows of {encoder.dim} dimensions: {out}"
    console.print(line)
    return {
        "out": str(out),
        "images": len(listing) - len(gaps),
        "dim": encoder.dim,
        "model": encoder.fingerprint,
        "left_out": [{"path": str(listing[place].path), "reason": reason} for place, reason in gaps.items()],
    }

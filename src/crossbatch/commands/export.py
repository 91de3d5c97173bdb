"""`crossbatch export RUN`: the trained model as one file that runs anywhere, or as a folder for a model hub."""

from pathlib import Path
from typing import Any, Literal

from rich.console import Console

from crossbatch import runs
from crossbatch.commands.output import refuse_below_file, refuse_read_only
from crossbatch.errors import RunError


def export(
    run: Path,
    format: Literal["onnx", "folder"] = "onnx",  # noqa: A002  (the option's name)
    out: Path | None = None,
    *,
    console: Console,
) -> dict[str, Any]:
    """Write a run's model as an ONNX file, compared with torch, or as a folder in the layout of model hubs.

    Args:
        run: Run folder, a folder of save_pretrained, or hf://owner/name.
        format: onnx, one file: pixels uint8 [batch, height, width, channels] of the model's size in, unit rows out;
            or folder: model.safetensors, config.json and a model card.
        out: Where to write; by default RUN/model.onnx or RUN/pretrained.
    """
    from crossbatch.encoder import hub, load  # noqa: PLC0415  (imports Pillow)

    if out:
        refuse_below_file(out)
    elif run.is_dir():
        refuse_read_only(run, "say with --out where to write")
    saved = run.is_dir() and not (run / runs.CONFIG).is_file()
    if out is None and (hub.named(str(run)) or (format == "folder" and saved)):
        raise RunError(f"{run} is no run folder: say with --out where to write")
    encoder = load(run, device="cpu")
    if format == "folder":
        folder = out or run / "pretrained"
        encoder.save_pretrained(folder)
        console.print(f"{folder}: crossbatch.load({str(folder)!r}) reads it")
        return {"out": str(folder), "format": format, "model": encoder.fingerprint}
    path = out or run / "model.onnx"
    if path.exists():
        raise RunError(f"{path} is there already: name another --out, or remove it")
    apart = encoder.save_onnx(path)
    high, wide = encoder.preprocess.sides
    for line in (
        f"{path}: uint8 [batch, {high}, {wide}, {encoder.description.channels}] in, float32 [batch, {encoder.dim}] out",
        f"rows are within {apart:.1e} of torch's, in batches of 1, 2, 3 and 17 (at most 1e-4 is accepted)",
    ):
        console.print(line)
    return {"out": str(path), "format": format, "model": encoder.fingerprint, "parity": apart}

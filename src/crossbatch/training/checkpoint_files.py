"""The checkpoint files of a run: written whole, checked by their hashes, and chosen when a run resumes."""

import hashlib
import io
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Any, BinaryIO, cast

import torch
from lightning.fabric.plugins import CheckpointIO

from crossbatch import runs
from crossbatch.durable import whole
from crossbatch.errors import RunError
from crossbatch.launched import started_rank

HASHES = "hashes.json"
REMEMBERED = 3  # hashes per file name: of the file, of the file before it, and of one that a kill left without its name
NEEDED = {"state_dict": dict, "callbacks": dict, "loops": dict, "optimizer_states": list, "lr_schedulers": list}


class CheckpointFiles(CheckpointIO):
    """Writes and reads checkpoints for Lightning, whose own way goes through the system's temporary folder.

    When a new `last.ckpt` is written, the one before it becomes `previous.ckpt`. The hash of a file is written before
    the file gets its name, so that at any moment the hash of every checkpoint file is known. `change` is applied to
    each checkpoint after it is read.
    """

    def __init__(self, change: Callable[[dict[str, Any]], dict[str, Any]] | None = None) -> None:
        self.change = change

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:  # noqa: ARG002
        """Write beside `path`, flush, note the hash, rename. On `DiskError` the files that were there are kept."""
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)

        def note() -> None:
            _note(path, {"sha256": written.digest.hexdigest(), "bytes": written.size})
            if path.name == f"{runs.LAST}.ckpt" and path.exists():
                path.replace(path.with_name(f"{runs.PREVIOUS}.ckpt"))

        with whole(path, before_rename=note) as file:
            written = _Hashed(file)
            try:
                torch.save(checkpoint, cast(IO[bytes], written))
            except RuntimeError as error:  # torch's writer hides the error of the disk
                raise written.refused or error from error

    def load_checkpoint(self, path: Any, map_location: Any = None, weights_only: bool | None = None) -> dict[str, Any]:  # noqa: ARG002
        """Read tensors and plain values; code in the checkpoint is never run."""
        checkpoint = read(Path(path), map_location)
        return checkpoint if self.change is None else self.change(checkpoint)

    def remove_checkpoint(self, path: Any) -> None:
        """Remove a checkpoint that another one replaces."""
        Path(path).unlink(missing_ok=True)


class _Hashed(io.RawIOBase):
    """A file that is hashed while it is written, and that keeps the error of the disk, if there is one."""

    def __init__(self, file: BinaryIO) -> None:
        super().__init__()
        self.file, self.digest, self.size = file, hashlib.sha256(), 0
        self.refused: OSError | None = None

    def write(self, data: Any) -> int:
        """Write and hash."""
        try:
            written = self.file.write(data)
        except OSError as error:
            self.refused = error
            raise
        self.digest.update(data)
        self.size += written
        return written


def read(path: Path, map_location: Any = None) -> dict[str, Any]:
    """Read a checkpoint: tensors and plain values; code in it is never run."""
    checkpoint: dict[str, Any] = torch.load(path, map_location=map_location or "cpu", weights_only=True)
    return checkpoint


def choose(run: Path) -> tuple[Path, int, list[str]]:
    """The checkpoint to resume from, its step, and a sentence for each damaged checkpoint that was passed over.

    The choice is `last.ckpt`, or `previous.ckpt` where `last.ckpt` is missing or damaged. A damaged `last.ckpt` is
    moved aside, so that it never becomes `previous.ckpt`. Raises `RunError` where neither is whole.
    """
    damaged, folder = list[str](), run / runs.CHECKPOINTS
    for name in (runs.LAST, runs.PREVIOUS):
        path = folder / f"{name}.ckpt"
        if not path.is_file():
            continue
        try:
            step = _step(path)
        except RunError as error:
            damaged.append(str(error))
            continue
        if damaged and (folder / f"{runs.LAST}.ckpt").is_file() and started_rank() == 0:
            (folder / f"{runs.LAST}.ckpt").replace(folder / f"{runs.LAST}.damaged")
        return path, step, damaged
    if damaged:
        raise RunError(
            f"no checkpoint of {run} can be read: {'; '.join(damaged)}: copy them again, or train "
            "anew with another --out"
        )
    raise RunError(f"{run} has no checkpoint to go on from: start it anew with another --out")


def damage(path: Path) -> str | None:
    """Say how a file differs from what was written, by its hash; None where it does not, or where no hash is known."""
    known = _hashes(path.parent).get(_name_of(path), [])
    if not known:
        return None
    size = path.stat().st_size
    if size not in [entry["bytes"] for entry in known]:
        return f"it has {size:,} bytes and {known[0]['bytes']:,} were written"
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return (
        None if digest in [entry["sha256"] for entry in known] else "its bytes are not those that were written (sha256)"
    )


def _step(path: Path) -> int:
    """The step of a checkpoint; refuses a file that is damaged, or is not a checkpoint of this package."""
    reason = damage(path)
    if reason is None:
        try:
            checkpoint = read(path)
            step, parts = checkpoint["global_step"], {name: checkpoint[name] for name in NEEDED}
        except OSError as error:
            reason = f"it cannot be read ({error.strerror or error})"
        except Exception:  # torch raises errors of zipfile, of pickle and of its own reader
            reason = "it cannot be read, is cut off, or is not one of ours"
        else:
            if type(step) is int and step >= 0 and all(isinstance(parts[name], kind) for name, kind in NEEDED.items()):
                return step
            reason = "it is not one of ours"
    raise RunError(f"{path} is damaged: {reason}")


def _note(path: Path, entry: dict[str, Any]) -> None:
    """Add an entry to the hashes of a file name."""
    hashes = _hashes(path.parent)
    hashes[path.name] = [entry, *hashes.get(path.name, [])][:REMEMBERED]
    runs.write_json(path.parent / HASHES, hashes)


def _hashes(folder: Path) -> dict[str, list[dict[str, Any]]]:
    """Hashes by file name, the newest first; empty where the list is lost: files are then read without a check."""
    try:
        plain = runs.read_json(folder / HASHES)
    except RunError:
        return {}
    listed = plain if isinstance(plain, Mapping) else {}
    return {
        name: [entry for entry in entries if isinstance(entry, dict) and {"sha256", "bytes"} <= entry.keys()]
        for name, entries in listed.items()
        if isinstance(entries, list)
    }


def _name_of(path: Path) -> str:
    """The name under which a file was written: `last.ckpt` for `previous.ckpt`."""
    return path.name.replace(runs.PREVIOUS, runs.LAST)


def read_whole(path: Path) -> dict[str, Any]:
    """Read a checkpoint; refuses a damaged one with an error that names the file."""
    reason = damage(path)
    try:
        if reason is None:
            return read(path)
    except Exception:  # torch raises errors of zipfile, of pickle and of its own reader
        reason = "it cannot be read"
    raise RunError(f"{path} is damaged: {reason}")

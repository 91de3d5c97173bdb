"""The checkpoint files of a run: written so that they cannot be lost, known by their hash, and chosen among."""

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
REMEMBERED = 3  # hashes a name: of the file, of the one before it, and of one that a kill left unnamed
NEEDED = {"state_dict": dict, "callbacks": dict, "loops": dict, "optimizer_states": list, "lr_schedulers": list}


class CheckpointFiles(CheckpointIO):
    """How Lightning writes and reads checkpoints here, in place of its own way by the system's temporary folder.

    A new `last.ckpt` makes the one before it `previous.ckpt`. The hash of a file is written down before the file gets
    its name, so that at any moment every file of a name has its hash among those of that name.
    """

    def __init__(self, change: Callable[[dict[str, Any]], dict[str, Any]] | None = None) -> None:
        self.change = change

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:  # noqa: ARG002
        """Write beside its place, flush, note the hash, rename. `DiskError`: nothing that was there is lost."""
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
            except RuntimeError as error:  # torch's writer hides what the disk has said
                raise written.refused or error from error

    def load_checkpoint(self, path: Any, map_location: Any = None, weights_only: bool | None = None) -> dict[str, Any]:  # noqa: ARG002
        """Read tensors and plain values: no code of a checkpoint is run."""
        checkpoint = read(Path(path), map_location)
        return checkpoint if self.change is None else self.change(checkpoint)

    def remove_checkpoint(self, path: Any) -> None:
        """Remove one that another has taken the place of."""
        Path(path).unlink(missing_ok=True)


class _Hashed(io.RawIOBase):
    """A file that is hashed as it is written, and keeps what the disk says against it."""

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
    """A checkpoint, of which no code is run."""
    checkpoint: dict[str, Any] = torch.load(path, map_location=map_location or "cpu", weights_only=True)
    return checkpoint


def choose(run: Path) -> tuple[Path, int, list[str]]:
    """The checkpoint to go on from, its step, and a sentence for each that is damaged and was passed over.

    The last one, or the one before it where the last is damaged; that one is moved aside, so that it never takes the
    place of a good one. Raises `RunError` where none is whole.
    """
    told, folder = list[str](), run / runs.CHECKPOINTS
    for name in (runs.LAST, runs.PREVIOUS):
        path = folder / f"{name}.ckpt"
        if not path.is_file():
            continue
        try:
            step = _step(path)
        except RunError as error:
            told.append(str(error))
            continue
        if told and (folder / f"{runs.LAST}.ckpt").is_file() and started_rank() == 0:
            (folder / f"{runs.LAST}.ckpt").replace(folder / f"{runs.LAST}.damaged")
        return path, step, told
    if told:
        raise RunError(
            f"no checkpoint of {run} can be read: {'; '.join(told)}: copy them again, or start anew with --init {run} "
            "and another --out"
        )
    raise RunError(f"{run} has no checkpoint to go on from: start it anew with another --out")


def damage(path: Path) -> str | None:
    """What is wrong with a file by its hash; None where nothing is, or where its hash was never written down."""
    known = _hashes(path.parent).get(_name_of(path), [])
    if not known:
        return None
    size = path.stat().st_size
    if size not in [one["bytes"] for one in known]:
        return f"it has {size:,} bytes and {known[0]['bytes']:,} were written"
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return None if digest in [one["sha256"] for one in known] else "its bytes are not those that were written (sha256)"


def _step(path: Path) -> int:
    """The step a checkpoint was taken at; refuses one that is damaged, or none of ours."""
    reason = damage(path)
    if reason is None:
        try:
            checkpoint = read(path)
            step, parts = checkpoint["global_step"], {name: checkpoint[name] for name in NEEDED}
        except OSError as error:
            reason = f"it cannot be read ({error.strerror or error})"
        except Exception:  # torch raises what zipfile, pickle and its own reader raise
            reason = "it cannot be read, is cut off, or is not one of ours"
        else:
            if type(step) is int and step >= 0 and all(isinstance(parts[name], kind) for name, kind in NEEDED.items()):
                return step
            reason = "it is not one of ours"
    raise RunError(f"{path} is damaged: {reason}")


def _note(path: Path, entry: dict[str, Any]) -> None:
    """Add a hash to those of a name."""
    hashes = _hashes(path.parent)
    hashes[path.name] = [entry, *hashes.get(path.name, [])][:REMEMBERED]
    runs.write_json(path.parent / HASHES, hashes)


def _hashes(folder: Path) -> dict[str, list[dict[str, Any]]]:
    """Hashes by the name of the file, the newest first; none where the list is lost, and files are then just read."""
    try:
        plain = runs.read_json(folder / HASHES)
    except RunError:
        return {}
    listed = plain if isinstance(plain, Mapping) else {}
    return {
        name: [one for one in some if isinstance(one, dict) and {"sha256", "bytes"} <= one.keys()]
        for name, some in listed.items()
        if isinstance(some, list)
    }


def _name_of(path: Path) -> str:
    """The name that a file was written under."""
    return path.name.replace(runs.PREVIOUS, runs.LAST)


def read_whole(path: Path) -> dict[str, Any]:
    """A checkpoint; refuses one that is damaged, by name."""
    reason = damage(path)
    try:
        if reason is None:
            return read(path)
    except Exception:  # torch raises what zipfile, pickle and its own reader raise
        reason = "it cannot be read"
    raise RunError(f"{path} is damaged: {reason}")

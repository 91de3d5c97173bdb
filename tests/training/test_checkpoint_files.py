"""Tests of a run's checkpoint files: the last two complete ones remain, whatever happens to a file or the disk."""

import errno
import os
import pickle
import random
import shutil
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from crossbatch import durable
from crossbatch.errors import DiskError, RunError
from crossbatch.models import checkpoint
from crossbatch.models.embedder import build
from crossbatch.training.checkpoint_files import HASHES, CheckpointFiles, choose, read_whole


def state(step: int) -> dict[str, object]:
    weights = {"weight": torch.arange(500.0) + step}
    return {
        "global_step": step,
        "state_dict": weights,
        "callbacks": {},
        "loops": {},
        "optimizer_states": [],
        "lr_schedulers": [],
    }


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A folder with the checkpoints of steps 20 and 30."""
    for step in (10, 20, 30):
        CheckpointFiles().save_checkpoint(state(step), tmp_path / "run/checkpoints/last.ckpt")
    return tmp_path / "run"


def weight(path: Path) -> float:
    return float(CheckpointFiles().load_checkpoint(path)["state_dict"]["weight"][0])


def test_the_last_two_stay_and_nothing_else(run: Path) -> None:
    folder = run / "checkpoints"
    assert sorted(path.name for path in folder.iterdir()) == [HASHES, "last.ckpt", "previous.ckpt"]
    assert (weight(folder / "last.ckpt"), weight(folder / "previous.ckpt")) == (30, 20)
    assert choose(run) == (folder / "last.ckpt", 30, [])


def cut(contents: bytes, chance: random.Random) -> bytes:
    return contents[: chance.randrange(len(contents))]


def flipped(contents: bytes, chance: random.Random) -> bytes:
    place = chance.randrange(len(contents))
    return contents[:place] + bytes([contents[place] ^ (1 << chance.randrange(8))]) + contents[place + 1 :]


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("damage", [cut, flipped])
def test_a_damaged_one_is_named_and_the_one_before_it_is_used(damage: object, seed: int, run: Path) -> None:
    """This also holds after the next save: a damaged file never replaces a good one."""
    last, previous = run / "checkpoints/last.ckpt", run / "checkpoints/previous.ckpt"
    last.write_bytes(damage(last.read_bytes(), random.Random(seed)))
    path, step, told = choose(run)
    assert (path, step) == (previous, 20)
    assert [line.split(" is damaged: ")[0] for line in told] == [str(last)]
    CheckpointFiles().save_checkpoint(state(30), last)
    assert (weight(last), weight(previous)) == (30, 20)
    assert choose(run) == (last, 30, [])


def test_where_none_is_whole_all_are_named(run: Path) -> None:
    for name in ("last", "previous"):
        (run / f"checkpoints/{name}.ckpt").write_bytes(b"")
    with pytest.raises(RunError, match=r"last.ckpt is damaged: it has 0 bytes.*previous.ckpt is damaged.*train anew"):
        choose(run)


@pytest.mark.parametrize(
    ("at", "left"), [("previous.ckpt", {"last.ckpt": 30, "previous.ckpt": 20}), ("last.ckpt", {"previous.ckpt": 30})]
)
def test_a_kill_at_a_rename_leaves_what_is_good_and_known(
    at: str, left: dict[str, int], run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The new file has no name yet. If the first remaining file is damaged too, the other one is used."""
    replace = Path.replace

    def killed(self: Path, target: Path) -> Path:
        if Path(target).name == at:
            raise SystemError("killed")
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", killed)
    with pytest.raises(SystemError, match="killed"):
        CheckpointFiles().save_checkpoint(state(40), run / "checkpoints/last.ckpt")
    assert choose(run)[2] == []
    for name, step in left.items():
        assert choose(run)[:2] == (run / "checkpoints" / name, step)
        (run / "checkpoints" / name).write_bytes(b"")


def test_without_the_list_of_hashes_a_file_is_read_and_judged(run: Path) -> None:
    """The list may be lost, and older runs have none. A file that is not a checkpoint never runs code."""
    last, previous = run / "checkpoints/last.ckpt", run / "checkpoints/previous.ckpt"
    for lost in (b"", b"[1]", b'{"last.ckpt": 3}', b"\xff{"):
        (run / "checkpoints" / HASHES).write_bytes(lost)
        assert choose(run)[:2] == (last, 30)
    for other in (b"no checkpoint", pickle.dumps(Opened(run / "opened")), pickle.dumps({"global_step": 3})):
        last.write_bytes(other)
        assert choose(run)[0] == previous
        assert not (run / "opened").exists()
    torch.save({"global_step": True, "state_dict": {}}, last)
    assert choose(run)[0] == previous


class Opened:
    """Creates a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> object:
        return open, (str(self.path), "w")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 256 kB, if mounting one is allowed."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = shutil.which("mount")
    if (
        mount is None
        or os.geteuid()
        or subprocess.run([mount, "-t", "tmpfs", "-o", "size=256k", "tmpfs", place], check=False).returncode
    ):
        pytest.skip("no file system may be mounted here")
    yield place
    subprocess.run(["umount", place], check=True)


def test_a_full_disk_loses_no_checkpoint(small_disk: Path) -> None:
    last = small_disk / "run/checkpoints/last.ckpt"
    for step in (10, 20):
        CheckpointFiles().save_checkpoint(state(step), last)
    large = state(30) | {"state_dict": {"weight": torch.zeros(100_000)}}
    with pytest.raises(DiskError, match=r"last.ckpt cannot be written \(No space left on device\): what was there"):
        CheckpointFiles().save_checkpoint(large, last)
    assert choose(small_disk / "run") == (last, 20, [])
    assert not list(last.parent.glob("*.partial"))


@pytest.mark.parametrize("way", ["text", "weights", "checkpoint"])
def test_whatever_cannot_be_written_leaves_what_was_there(
    way: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writers = {
        "text": lambda: durable.write_text(tmp_path / "file", "new"),
        "weights": lambda: checkpoint.save_weights(tmp_path / "file", build("small", 4, 3)),
        "checkpoint": lambda: CheckpointFiles().save_checkpoint(state(1), tmp_path / "file"),
    }
    (tmp_path / "file").write_text("old")

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(DiskError, match="No space left on device"):
        writers[way]()
    assert (tmp_path / "file").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_file_is_on_the_disk_before_it_takes_its_name_and_then_the_name_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise a power failure could leave the old file, an empty file or no file."""
    flushed: list[tuple[str, str]] = []

    def noted(descriptor: int) -> None:
        kind = "folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file"
        flushed.append((kind, (tmp_path / "file").read_text()))

    (tmp_path / "file").write_text("old")
    monkeypatch.setattr(os, "fsync", noted)
    durable.write_text(tmp_path / "file", "new")
    assert flushed == [("file", "old"), ("folder", "new")]


def test_a_best_one_that_is_damaged_is_named(run: Path) -> None:
    best = run / "checkpoints/best.ckpt"
    CheckpointFiles().save_checkpoint(state(30), best)
    assert float(read_whole(best)["state_dict"]["weight"][0]) == 30
    best.write_bytes(flipped(best.read_bytes(), random.Random(0)))
    with pytest.raises(RunError, match=r"best.ckpt is damaged: its bytes are not those that were written"):
        read_whole(best)

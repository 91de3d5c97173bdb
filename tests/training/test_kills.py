"""A run that is killed, at whatever moment, and goes on, ends where one does that nobody killed."""

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from crossbatch import runs

SMALL = "--batch.classes 3 --batch.images 2 --model.dim 8 --model.image_size 16 --optim.steps 400 --memory.start 50"
QUIET = "--loop.check_every 10 --loop.accelerator cpu --drift.sample 12"


def started(*words: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "crossbatch", "train", *words]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


@pytest.mark.long
@pytest.mark.parametrize("seed", range(3))
def test_a_run_killed_at_random_ends_as_one_that_was_not(seed: int, pictures: Path, tmp_path: Path) -> None:
    words = [str(pictures), *SMALL.split(), *QUIET.split()]
    straight, killed = tmp_path / "straight", tmp_path / "killed"
    assert started(*words, "--out", str(straight)).wait() == 0
    chance, kills = random.Random(seed), 0
    while not runs.is_finished(killed):
        whole = ["--resume", str(killed)] if runs.has_checkpoint(killed) else [*words, "--out", str(killed)]
        if killed.exists() and not runs.has_checkpoint(killed):
            killed.rename(tmp_path / f"nothing to go on from {kills}")
        process = started(*whole)
        for _ in range(600):
            if runs.has_checkpoint(killed) or process.poll() is not None:
                break
            time.sleep(0.1)
        if kills < 5:
            time.sleep(chance.uniform(0, 6))
            process.send_signal(signal.SIGKILL)
            kills += process.wait() == -signal.SIGKILL
        else:
            assert process.wait() == 0
    assert kills > 0
    assert (killed / "model.safetensors").read_bytes() == (straight / "model.safetensors").read_bytes()
    assert (
        runs.read_json(killed / "summary.json")["best_validation_R@1"]
        == (runs.read_json(straight / "summary.json")["best_validation_R@1"])
    )

"""Tests of a batch in pieces: it has the gradient of the whole batch and needs the memory of one piece."""

import os
import subprocess
import sys
from copy import deepcopy
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close

from crossbatch import ContrastiveLoss, CrossBatchLoss, CrossBatchMemory, embed_in_pieces
from crossbatch.errors import SettingError

DIM = 8


def network(*, drop: float) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(DIM, 32), nn.GELU(), nn.Dropout(drop), nn.Linear(32, DIM))


def batch(images: int) -> tuple[Tensor, Tensor, Tensor]:
    labels, ids = torch.arange(images) // 4, torch.arange(images)
    return torch.randn(images, DIM) + nn.functional.one_hot(labels % DIM, DIM), labels, ids


class Same(nn.Module):
    """Run the inner network on blocks of 32 images, so that a whole batch and its pieces have the same dropout."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, images: Tensor) -> Tensor:
        rows = [images[first : first + 32] for first in range(0, len(images), 32)]
        return torch.cat([self.inner(piece) for piece in rows])


def gradients(model: nn.Module, size: int, dtype: torch.dtype | None = None) -> tuple[list[Tensor], CrossBatchLoss]:
    """Gradients of a step after another step has filled the memory. Random numbers start from the same seed."""
    model, loss_fn = deepcopy(model), CrossBatchLoss(ContrastiveLoss(neg_margin=0.1), CrossBatchMemory(2048, DIM))
    torch.manual_seed(1)
    for _ in range(2):
        images, labels, ids = batch(1024)
        with torch.autocast("cpu", dtype, enabled=dtype is not None):
            embeddings = embed_in_pieces(model, images, size)
        loss = loss_fn(embeddings, labels, ids=ids)
    loss.backward()
    torch.rand(1)
    return [one.grad for one in model.parameters()], loss_fn


def test_the_gradient_is_that_of_the_whole_batch_with_its_dropout() -> None:
    """Each batch is enqueued exactly once."""
    model = Same(network(drop=0.3))
    (whole, _), (pieces, loss_fn) = gradients(model, 1024), gradients(model, 32)
    for one, other in zip(whole, pieces, strict=True):
        assert_close(other, one, atol=1e-5, rtol=0)
        assert one.abs().max() > 1e-4
    assert loss_fn.memory.steps.bincount().tolist() == [1024, 1024]


def test_under_autocast_it_is_as_near_to_the_exact_one_as_that_of_the_whole_batch() -> None:
    model = Same(network(drop=0.3))
    exact, whole, pieces = (
        gradients(model, *how)[0] for how in ((1024,), (1024, torch.bfloat16), (32, torch.bfloat16))
    )
    off, by_whole, by_pieces = ([one.flatten() for one in many] for many in (exact, whole, pieces))
    off, by_whole, by_pieces = (torch.cat(many) for many in (off, by_whole, by_pieces))
    error = (by_whole - off).norm()
    assert (by_pieces - off).norm() <= 1.05 * error
    assert (by_pieces - by_whole).norm() <= error


def test_batch_statistics_are_refused() -> None:
    model = nn.Sequential(nn.Linear(DIM, DIM), nn.BatchNorm1d(DIM))
    images, _, _ = batch(64)
    with pytest.raises(SettingError, match="1 BatchNorm layers, the first is '1', would see the statistics of 16"):
        embed_in_pieces(model, images, 16)
    assert_close(embed_in_pieces(model, images, 64), model(images))
    model.eval()
    assert_close(embed_in_pieces(model, images, 16), model(images))


MEASURED = """
import re, sys
from pathlib import Path
import torch
from torch import nn
from crossbatch import ContrastiveLoss, CrossBatchLoss, CrossBatchMemory, embed_in_pieces

class FromBytes(nn.Module):
    def __init__(self):
        super().__init__()
        convolutions = [nn.Conv2d(3 if first else 64, 64, 3, padding=1) for first in (True, False, False, False)]
        layers = [layer for convolution in convolutions for layer in (convolution, nn.ReLU())]
        self.network = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 16))

    def forward(self, images):
        return self.network(images.float() / 255)

def kilobytes(what):
    return int(re.search(what + r":\\s+(\\d+)", Path("/proc/self/status").read_text())[1])

torch.set_num_threads(1)
count, size = map(int, sys.argv[1:])
model, loss_fn = FromBytes(), CrossBatchLoss(ContrastiveLoss(neg_margin=0.1), CrossBatchMemory(4096, 16))
kept = torch.randint(256, (count, 3, 32, 32), dtype=torch.uint8)
loss_fn(embed_in_pieces(model, kept[:4], 2), torch.arange(4) // 2).backward()  # what is imported and made once
Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
before = kilobytes("VmRSS")
for step in range(2):
    loss_fn(embed_in_pieces(model, kept, size), torch.arange(count) // 4).backward()
print(kilobytes("VmHWM") - before)
"""


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="the peak is read from Linux")
@pytest.mark.long
def test_it_takes_the_memory_of_a_piece() -> None:
    """Compare a batch of 1,024 in pieces of 64 with a batch of 64, each in its own process, without the images."""
    # Make malloc return freed memory to the system at once.
    environment = {**os.environ, "MALLOC_MMAP_THRESHOLD_": "65536"}
    small, large = (
        int(
            subprocess.run(
                [sys.executable, "-c", MEASURED, *way], capture_output=True, env=environment, check=True
            ).stdout
        )
        for way in (("64", "64"), ("1024", "64"))
    )
    assert large <= 1.3 * small

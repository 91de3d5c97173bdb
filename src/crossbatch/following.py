"""Make a memory follow the network: move its rows by the linear motion that all images share."""

import torch
from torch import Tensor

from crossbatch.errors import SettingError, ShapeError
from crossbatch.memory import CrossBatchMemory, carried
from crossbatch.precision import exactly
from crossbatch.processes import Apart
from crossbatch.shapes import Embeddings, unit

RIDGES = (0.001, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0)


@torch.no_grad()
@exactly
def shared_motion(before: Embeddings, now: Embeddings) -> Tensor:
    """Fit the linear map [dim, dim] that best takes earlier embeddings of some images to their present ones.

    `now ≈ before @ motion`, by least squares with a ridge that pulls the map towards the identity. The ridge is chosen
    from `RIDGES` by leave-one-out error over the images; the identity itself is a candidate too. So a motion that these
    images do not share is not followed. If an embedding is not finite, the result is the identity.

    Examples:
        >>> rows = normalize(torch.randn(256, 8))
        >>> turn = torch.linalg.qr(torch.randn(8, 8)).Q
        >>> bool((shared_motion(rows, rows @ turn) - turn).abs().max() < 0.01)
        True
    """
    if before.shape != now.shape:
        raise ShapeError(f"before and now must have the same shape, got {list(before.shape)} and {list(now.shape)}")
    before, now = before.float(), now.to(before.device).float()
    sound = before.isfinite().all() & now.isfinite().all()
    before, now = (torch.where(sound, rows, 0) for rows in (before, now))
    moved = now - before
    spectrum, axes = torch.linalg.eigh(before.T @ before)
    coordinates = before @ axes
    targets = coordinates.T @ moved
    weights = 1 / (spectrum.clamp(min=0) + spectrum.new_tensor(RIDGES)[:, None])  # [ridges, dim]
    weights = torch.cat([torch.zeros_like(weights[:1]), weights])  # the first candidate is the identity
    # The leave-one-out residual of an image follows from the fit on all images: its residual / (1 − its leverage).
    leverage = (coordinates.square() @ weights.T).clamp(max=0.999)  # [images, ridges]
    errors = [
        ((moved - (coordinates * weight) @ targets) / (1 - leverage[:, [number]])).square().sum()
        for number, weight in enumerate(weights)
    ]
    best = weights[torch.stack(errors).argmin()]
    motion: Tensor = torch.eye(before.shape[1], device=before.device) + axes @ (best[:, None] * targets)
    return motion


class Following(Apart):
    """Move the rows of a memory with the network, by a motion fitted on images that are embedded again and again.

    Call it every few steps with the embeddings [images, dim] of a probe: a fixed set of training images, at least twice
    as many as dimensions, embedded as in training. Rows written since the last call move only part of the way. State
    lives in buffers. Several processes call it together; all use the motion of the first.

    Args:
        memory: The memory whose rows are moved.
        images: Greatest number of images in the probe.

    Examples:
        >>> following = Following(memory, images=256)
        >>> if step % 40 == 0:
        ...     motion = following(model(probe), loss_fn.step)
    """

    memory: CrossBatchMemory
    probe: Tensor
    since: Tensor
    step: Tensor
    motion: Tensor

    def __init__(self, memory: CrossBatchMemory, images: int) -> None:
        super().__init__()
        if not isinstance(memory, CrossBatchMemory):
            raise SettingError(f"Following(memory, images) takes a CrossBatchMemory, got {type(memory).__name__}")
        self.__dict__["memory"] = memory  # not a submodule: the module that the memory belongs to saves its buffers
        self.register_buffer("probe", torch.zeros(images, memory.dim))
        self.register_buffer("since", torch.tensor(-1))
        self.register_buffer("step", torch.tensor(-1))
        self.register_buffer("motion", torch.eye(memory.dim))  # the last motion, from step `since` to `step`

    @torch.no_grad()
    def forward(self, probe: Embeddings, step: int | Tensor) -> Tensor:
        """Move the rows of the memory as the probe moved since the last call; returns the motion [dim, dim].

        `step` is the current step of the loss.
        """
        if len(probe) > len(self.probe) or probe.shape[1] != self.memory.dim:
            expected = f"up to {len(self.probe)} embeddings of {self.memory.dim} dimensions"
            raise ShapeError(f"this probe has {expected}, got {list(probe.shape)}")
        padding = torch.zeros(len(self.probe) - len(probe), probe.shape[1], device=probe.device)
        now = torch.cat([unit(probe), padding])  # rows of zeros do not affect the fit
        motion = self.memory.processes.of_first(shared_motion(torch.where(self.step >= 0, self.probe, now), now))
        self.since.copy_(self.step)
        self.step.copy_(torch.as_tensor(step))
        self.motion.copy_(motion)
        self.probe.copy_(now)
        self.memory.carry(self.motion, self.since, self.step)
        return self.motion

    def carry(self, rows: Embeddings, written: int) -> Embeddings:
        """Move rows [rows, dim] that were written at step `written` by the last motion, as the memory's rows are."""
        share = (self.step - written) / (self.step - self.since).clamp(min=1)
        return carried(rows, self.motion, share.clamp(0, 1).expand(len(rows)))

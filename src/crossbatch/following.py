"""A memory that follows the network: its rows are carried along by the motion that all images share."""

import torch
from torch import Tensor

from crossbatch.errors import ShapeError
from crossbatch.memory import CrossBatchMemory, carried
from crossbatch.precision import exactly
from crossbatch.processes import Apart
from crossbatch.shapes import Embeddings, unit

RIDGES = (0.001, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0)


@torch.no_grad()
@exactly
def shared_motion(before: Embeddings, now: Embeddings) -> Tensor:
    """The linear map [dim, dim] that best takes the embeddings of some images to those that they have now.

    `now ≈ before @ motion`, by least squares with a ridge that pulls the map to the identity. Of `RIDGES`, and the
    identity itself, the one is taken that is best on images left out of the fit, each in turn; so a motion that
    these images do not share is not followed. The identity also where an embedding is not finite.

    Examples:
        >>> rows = normalize(torch.randn(256, 8))
        >>> turn = torch.linalg.qr(torch.randn(8, 8)).Q
        >>> bool((shared_motion(rows, rows @ turn) - turn).abs().max() < 0.01)
        True
    """
    if before.shape != now.shape:
        raise ShapeError(f"a motion goes from embeddings to as many, got {list(before.shape)} and {list(now.shape)}")
    before, now = before.float(), now.to(before.device).float()
    sound = before.isfinite().all() & now.isfinite().all()
    before, now = (torch.where(sound, rows, 0) for rows in (before, now))
    moved = now - before
    spectrum, axes = torch.linalg.eigh(before.T @ before)
    along = before @ axes
    wanted = along.T @ moved
    weights = 1 / (spectrum.clamp(min=0) + spectrum.new_tensor(RIDGES)[:, None])  # [ridges, dim]
    weights = torch.cat([torch.zeros_like(weights[:1]), weights])  # the first: nothing has moved
    # What is left of an image when it is left out follows from the whole fit: the residual / (1 − its leverage).
    leverage = (along.square() @ weights.T).clamp(max=0.999)  # [images, ridges]
    left = [
        ((moved - (along * weight) @ wanted) / (1 - leverage[:, [number]])).square().sum()
        for number, weight in enumerate(weights)
    ]
    best = weights[torch.stack(left).argmin()]
    motion: Tensor = torch.eye(before.shape[1], device=before.device) + axes @ (best[:, None] * wanted)
    return motion


class Following(Apart):
    """Carries the rows of a memory along with the network, from embeddings of the same images now and then.

    Called every few steps with the embeddings [images, dim] of a fixed probe of training images, at least twice as
    many as there are dimensions, embedded as training embeds them. Rows written since the last call are carried a
    part of the way. State lives in buffers. Several processes call it together, and follow what the first one sees.

    Args:
        memory: Whose rows are carried along.
        images: How many images the probe has at most.

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
        self.__dict__["memory"] = memory  # not a module of this one: its buffers are saved by whom it belongs to
        self.register_buffer("probe", torch.zeros(images, memory.dim))
        self.register_buffer("since", torch.tensor(-1))
        self.register_buffer("step", torch.tensor(-1))
        self.register_buffer("motion", torch.eye(memory.dim))  # the last, from `since` to `step`

    @torch.no_grad()
    def forward(self, probe: Embeddings, step: int | Tensor) -> Tensor:
        """Carry the memory to where the probe is at this step of the loss; returns the motion [dim, dim]."""
        if len(probe) > len(self.probe) or probe.shape[1] != self.memory.dim:
            wanted = f"up to {len(self.probe)} embeddings of {self.memory.dim} dimensions"
            raise ShapeError(f"this probe has {wanted}, got {list(probe.shape)}")
        missing = torch.zeros(len(self.probe) - len(probe), probe.shape[1], device=probe.device)
        now = torch.cat([unit(probe), missing])  # what is missing has no say: zeros move nothing
        motion = self.memory.processes.of_first(shared_motion(torch.where(self.step >= 0, self.probe, now), now))
        self.since.copy_(self.step)
        self.step.copy_(torch.as_tensor(step))
        self.motion.copy_(motion)
        self.probe.copy_(now)
        self.memory.carry(self.motion, self.since, self.step)
        return self.motion

    def carry(self, rows: Embeddings, written: int) -> Embeddings:
        """Rows [rows, dim] that were written at a step, carried along the last motion as the memory's are."""
        share = (self.step - written) / (self.step - self.since).clamp(min=1)
        return carried(rows, self.motion, share.clamp(0, 1).expand(len(rows)))

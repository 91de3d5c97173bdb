"""Tests of the public names and their signatures: imports from the package keep working."""

import inspect

import pytest
import torch

import crossbatch
from crossbatch import CrossBatchLoss, CrossBatchMemory
from crossbatch.errors import SettingError

SIGNATURES = {
    "CrossBatchLoss": "(loss, memory, *, memory_weight=1.0, batch_weight=1.0, warmup_steps=0, earlier_only=True, "
    "group=None)",
    "CrossBatchMemory": "(size, dim, *, dtype=torch.float32, device=None, sharded=False)",
    "CrossBatchMemory.enqueue": "(self, embeddings, labels, *, ids=None, step=None)",
    "CrossBatchMemory.lookup": "(self, ids)",
    "CrossBatchMemory.reset": "(self)",
    "CrossBatchMemory.carry": "(self, motion, since, now)",
    "Encoder": "(network, description, source, device, half)",
    "Encoder.embed": "(self, images, *, batch_size=64)",
    "Encoder.embed_readable": "(self, images, *, batch_size=64)",
    "Encoder.save_onnx": "(self, path)",
    "Encoder.save_pretrained": "(self, folder)",
    "Following": "(memory, images)",
    "PairLoss": "(*, room=1.0)",
    "PairLoss.forward": "(self, embeddings, labels, *, ref_emb=None, ref_labels=None, ids=None, ref_ids=None)",
    "BinomialDevianceLoss": "(alpha=2.0, beta=40.0, base=0.5, *, room=1.0)",
    "CircleLoss": "(margin=0.4, scale=80.0, *, room=1.0)",
    "ContrastiveLoss": "(neg_margin=0.5, reduction='mean', weigh=None, *, room=1.0)",
    "LiftedStructureLoss": "(scale=16.0, neg_margin=0.5, *, room=1.0)",
    "MarginLoss": "(margin=0.2, beta=1.2, *, room=1.0)",
    "MatryoshkaLoss": "(loss, dims)",
    "MultiSimilarityLoss": "(alpha=2.0, beta=50.0, base=0.5, epsilon=0.1, *, room=1.0)",
    "NCALoss": "(scale=16.0, *, room=1.0)",
    "NPairLoss": "(scale=16.0, *, room=1.0)",
    "PKBatches": "(labels, classes, images, seed=0, steps=None, share=(0, 1))",
    "NTXentLoss": "(temperature=0.1, *, room=1.0)",
    "SupConLoss": "(temperature=0.1, *, room=1.0)",
    "TripletLoss": "(margin=0.1, mining='all', weigh=None, *, room=1.0)",
    "check_loss": "(loss_fn)",
    "compare": "(root=None, **options)",
    "embed_in_pieces": "(model, images, size)",
    "load": "(name, *, device=None, half=False, weights='model.safetensors')",
    "recommended": "(name, **options)",
    "train": "(root=None, **options)",
    "reference_loss": "(loss_fn, embeddings, labels, ref_emb=None, ref_labels=None, *, ids=None, ref_ids=None)",
}


@pytest.mark.parametrize("name", SIGNATURES)
def test_a_public_name_is_called_as_it_is_documented(name: str) -> None:
    found = crossbatch
    for part in name.split("."):
        found = getattr(found, part)
    found = found.__init__ if inspect.isclass(found) else found
    signature = inspect.signature(found)
    plain = [one.replace(annotation=inspect.Parameter.empty) for one in signature.parameters.values()]
    plain = plain[1:] if found.__name__ == "__init__" else plain
    shown = str(signature.replace(parameters=plain, return_annotation=inspect.Signature.empty))
    assert shown == SIGNATURES[name]


def test_no_name_is_public_without_being_listed() -> None:
    assert set(crossbatch.__all__) == {name for name in SIGNATURES if "." not in name} | {"CrossBatchError"}


@pytest.mark.parametrize("variable", ["WORLD_SIZE", "SLURM_STEP_NUM_TASKS"])
def test_several_processes_without_a_group_are_refused(variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    loss_fn = CrossBatchLoss(crossbatch.ContrastiveLoss(), CrossBatchMemory(4, 2))
    monkeypatch.setenv(variable, "3")
    with pytest.raises(SettingError, match="3 processes were started, and they do not know of each other: call torch"):
        loss_fn(torch.eye(2), torch.arange(2))


def test_an_interactive_shell_of_slurm_is_one_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_STEP_NUM_TASKS", "3")
    monkeypatch.setenv("SLURM_JOB_NAME", "bash")
    loss_fn = CrossBatchLoss(crossbatch.ContrastiveLoss(), CrossBatchMemory(4, 2))
    assert loss_fn(torch.eye(2), torch.arange(2)) == 0

"""The door to Hugging Face's hub: opened by a name that begins with hf:// and by nothing else."""

from pathlib import Path

from crossbatch.errors import MissingExtraError, RunError
from crossbatch.models.checkpoint import CARD, CONFIG, WEIGHTS
from crossbatch.models.hub_cache import cache_alone_if_offline

SCHEME = "hf://"


def named(name: str) -> bool:
    """Whether a name is of the hub; a `Path` of it has lost one of the two slashes."""
    return name.startswith(SCHEME[:-1])


def fetched(name: str) -> Path:
    """The folder in the hub's cache that holds the model `hf://owner/name`, fetched if it is not there."""
    name = SCHEME + name.removeprefix(SCHEME[:-1]).lstrip("/")
    try:
        import huggingface_hub  # noqa: PLC0415
    except ModuleNotFoundError:
        raise MissingExtraError(f"to load {name}", "huggingface_hub", "hub") from None
    try:
        with cache_alone_if_offline():
            files = [CONFIG, WEIGHTS, CARD]
            folder = huggingface_hub.snapshot_download(name.removeprefix(SCHEME), allow_patterns=files)
    except Exception as error:  # of the network, the hub's answers, the name's spelling
        reason = str(error).strip().split("\n")[0]
        raise RunError(
            f"{name} cannot be fetched ({reason}): check the name and the network, or give a path"
        ) from error
    return Path(folder)

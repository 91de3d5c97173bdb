"""Models of Hugging Face's hub, which are fetched only for names that begin with hf://."""

from pathlib import Path

from crossbatch.errors import MissingExtraError, RunError
from crossbatch.models.checkpoint import CARD, CONFIG, WEIGHTS
from crossbatch.models.hub_cache import cache_alone_if_offline

SCHEME = "hf://"


def named(name: str) -> bool:
    """Tell whether a name is one of the hub. One slash suffices, since `Path` removes the other."""
    return name.startswith(SCHEME[:-1])


def fetched(name: str) -> Path:
    """The folder in the hub's cache that holds the model `hf://owner/name`; fetch the model if it is missing."""
    name = SCHEME + name.removeprefix(SCHEME[:-1]).lstrip("/")
    try:
        import huggingface_hub  # noqa: PLC0415
    except ModuleNotFoundError:
        raise MissingExtraError(f"to load {name}", "huggingface_hub", "hub") from None
    try:
        with cache_alone_if_offline():
            files = [CONFIG, WEIGHTS, CARD]
            folder = huggingface_hub.snapshot_download(name.removeprefix(SCHEME), allow_patterns=files)
    except Exception as error:  # of the network, of the hub's answer, or of a misspelt name
        reason = str(error).strip().split("\n")[0]
        raise RunError(
            f"{name} cannot be fetched ({reason}): check the name and the network, or give a path"
        ) from error
    return Path(folder)

"""Hugging Face's hub without a network: what its cache holds is used at once, and nothing is asked again and again."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit
from urllib.request import getproxies


@contextmanager
def cache_alone_if_offline() -> Iterator[None]:
    """Inside, the hub reads its cache alone where its host has no address; else it retries for half a minute a file."""
    try:
        from huggingface_hub import constants  # noqa: PLC0415
    except ModuleNotFoundError:
        yield
        return
    before = constants.HF_HUB_OFFLINE
    constants.HF_HUB_OFFLINE = before or not _reachable(constants.ENDPOINT)
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = before


def _reachable(address: str) -> bool:
    """Whether a host has an address, or a proxy is there that may know one."""
    if getproxies():
        return True
    try:
        return bool(socket.getaddrinfo(urlsplit(address).hostname, None))
    except OSError:
        return False

"""Hugging Face's hub without a network: what its cache holds is used at once, and nothing is asked again and again."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit
from urllib.request import getproxies

ONE_AT_A_TIME = threading.RLock()


@contextmanager
def cache_alone_if_offline() -> Iterator[None]:
    """Inside, the hub reads its cache alone where its host has no address; else it retries for half a minute a file.

    Raises:
        OSError: There is no network, and the cache lacks what is wanted.
    """
    try:
        from huggingface_hub import constants  # noqa: PLC0415
    except ModuleNotFoundError:
        yield
        return
    if constants.HF_HUB_OFFLINE or _reachable(constants.ENDPOINT):
        yield
        return
    with ONE_AT_A_TIME:  # the switch is one of the whole process
        constants.HF_HUB_OFFLINE = True
        try:
            yield
        except OSError as error:
            raise OSError("there is no network, and the hub's cache lacks it") from error
        finally:
            constants.HF_HUB_OFFLINE = False


def _reachable(address: str) -> bool:
    """Whether a host has an address, or a proxy is there that may know one."""
    if set(getproxies()) - {"no"}:
        return True
    try:
        return bool(socket.getaddrinfo(urlsplit(address).hostname, None))
    except OSError:
        return False

"""Hugging Face's hub without a network: its cache is used at once, without repeated requests."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit
from urllib.request import getproxies

ONE_AT_A_TIME = threading.RLock()


@contextmanager
def cache_alone_if_offline() -> Iterator[None]:
    """Let the hub read only its cache if its host has no address; else it would retry for half a minute per file.

    Raises:
        OSError: There is no network, and the cache lacks a file.
    """
    try:
        from huggingface_hub import constants  # noqa: PLC0415
    except ModuleNotFoundError:
        yield
        return
    if constants.HF_HUB_OFFLINE or _reachable(constants.ENDPOINT):
        yield
        return
    with ONE_AT_A_TIME:  # the switch is global to the process
        constants.HF_HUB_OFFLINE = True
        try:
            yield
        except OSError as error:
            raise OSError("there is no network, and the hub's cache lacks it") from error
        finally:
            constants.HF_HUB_OFFLINE = False


def _reachable(address: str) -> bool:
    """Tell whether a host has an address, or there is a proxy that may know one."""
    if set(getproxies()) - {"no"}:
        return True
    try:
        return bool(socket.getaddrinfo(urlsplit(address).hostname, None))
    except OSError:
        return False

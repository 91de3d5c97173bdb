"""`crossbatch serve`: serve a page that searches a gallery, and the service that it uses."""

import os
import socket
import webbrowser
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from jsonargparse.typing import NonNegativeInt
from rich.console import Console

from crossbatch.commands.galleries import Milvus, open_gallery
from crossbatch.errors import MissingExtraError, SettingError
from crossbatch.web.limits import Limits

if TYPE_CHECKING:
    from crossbatch.index import Gallery


def serve(
    gallery: Path,
    host: str = "127.0.0.1",
    port: NonNegativeInt = 8000,
    token: str | None = None,
    limits: Limits = Limits(),  # noqa: B008  (frozen)
    by: Literal["auto", "exact", "milvus"] = "auto",
    open: bool = False,  # noqa: A002
    data: str | None = None,
    root: Path | None = None,
    milvus: Milvus = Milvus(),  # noqa: B008
    *,
    console: Console,
) -> dict[str, Any]:
    """Serve a page that searches a gallery, on this machine only unless --host says otherwise; Ctrl-C ends it.

    Images that `crossbatch index` adds meanwhile are found within a second or two.

    Args:
        gallery: Gallery; or a run folder, whose images are indexed into RUN/gallery if that is not there yet.
        host: Address to serve on; any but this machine's own, as 0.0.0.0, needs a token.
        port: Port to serve on; 0 takes a free one.
        token: Secret that every request must carry, at least 16 characters; better in the variable CROSSBATCH_TOKEN.
        limits: What a request may cost.
        by: How to search: exact compares each row of the table; milvus asks the database; auto asks the database if it
            is a server, else the table, which is faster than Milvus Lite at any size that was measured.
        open: Open the page in the browser.
        data: Import path of your own function that reads the data set, if the run was trained with one.
        root: Where the run's data set is now, if it has moved.
        milvus: How to reach a Milvus server.
    """
    try:
        from crossbatch.web import app as _  # noqa: F401, PLC0415  (fails if a package of the extra is missing)
        from crossbatch.web import run as server  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise MissingExtraError("the page", str(error.name), "serve") from None
    token = token or os.environ.get("CROSSBATCH_TOKEN") or None
    server.check_token(host, token)
    if port > 65_535:
        raise SettingError(f"--port takes a number up to 65535, got {port}")
    with server.bound(host, port) as listening:  # first, as opening may take long
        opened = open_gallery(gallery, data, root, milvus, by, console)
        address = _serve(opened, listening, limits, host, token, show=open, console=console)
    console.print("stopped")
    return {"gallery": str(opened.folder), "address": address}


def _serve(
    opened: "Gallery",
    listening: socket.socket,
    limits: Limits,
    host: str,
    token: str | None,
    *,
    show: bool,
    console: Console,
) -> str:
    """Serve until the user stops it; return the address."""
    from crossbatch.index import kept_model  # noqa: PLC0415
    from crossbatch.web import run as server  # noqa: PLC0415
    from crossbatch.web.app import LOOPBACK, create_app  # noqa: PLC0415

    folder = opened.folder

    def load() -> Any:
        import torch  # noqa: PLC0415

        from crossbatch.training.cores import share_cores  # noqa: PLC0415

        torch.set_num_threads(share_cores(True, 1, on_cpu=True)[1])  # one core is left for everything but the network
        as_graph = not torch.cuda.is_available()  # ONNX Runtime may know no GPU
        return kept_model.opened(folder, opened.description.model.fingerprint, as_graph=as_graph)

    everywhere = host in ("0.0.0.0", "::")  # noqa: S104  (only compared; other machines reach this one by its name)
    shown = socket.gethostname() if everywhere else f"[{host}]" if ":" in host else host
    hosts = (*LOOPBACK, shown) if server.is_loopback(host) else ()
    app = create_app(opened, load, limits, token=token, hosts=hosts)
    address = f"http://{shown}:{listening.getsockname()[1]}/"

    def started() -> None:
        method = opened.method
        line = f"{len(opened):,} images of {folder}; {method.name} search, by {method.by}"
        console.print(line)
        asked = "; the page asks for your token, or takes it from #token=TOKEN behind the address" if token else ""
        console.print(f"Ctrl-C stops it{asked}")
        console.print(f"open {address}")  # nothing follows the address, so that it can be clicked on and copied
        if show:
            webbrowser.open(address)

    with suppress(KeyboardInterrupt):
        server.serve(app, listening, started)
    return address

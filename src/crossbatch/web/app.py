"""The web service of one gallery: its page, searches, pictures and map."""

import random
from collections.abc import Callable, Iterable
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from fastapi import Depends, FastAPI, File, Form, Query, Request, Response, UploadFile
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException

from crossbatch.data.image_files import as_label
from crossbatch.index import Gallery
from crossbatch.index.rows import Rows
from crossbatch.index.thumbnails import media_type
from crossbatch.web import answers
from crossbatch.web.batcher import Model
from crossbatch.web.guard import COOKIE, Guard, same, session_of
from crossbatch.web.limits import Limits, RefusedError
from crossbatch.web.page_files import page_files
from crossbatch.web.refusals import ONLY_KNOWN, a_form, add_errors
from crossbatch.web.searching import Wish, row_of
from crossbatch.web.service import Service

LOOPBACK = ("localhost", "127.0.0.1", "[::1]")
FOREVER = "private, max-age=31536000, immutable"  # for whole ids, digests of the content; not for shortened ones
BRIEFLY = "private, max-age=60"
FAILURES = (400, 401, 403, 404, 408, 413, 415, 421, 422, 429, 503, 504)

Label = Annotated[str, Field(max_length=1024)]
Labels = Annotated[list[Label], Field(max_length=100)]
Similarity = Annotated[float, Field(ge=-1, le=1, allow_inf_nan=False)]
Id = Annotated[str, Field(max_length=64)]


class Session(BaseModel):
    """The token, as a person gives it once."""

    token: Annotated[str, Field(max_length=4096)]


def create_app(
    gallery: Gallery,
    load: Callable[[], Model],
    limits: Limits = Limits(),  # noqa: B008  (frozen)
    *,
    token: str | None = None,
    hosts: Iterable[str] = LOOPBACK,
    page: Path | None = None,
) -> FastAPI:
    """The service of a gallery.

    `load`: returns the model that embedded the gallery; called in a thread. `token`: a secret that every request must
    carry, if given. `hosts`: host names that the server accepts, empty for any. `page`: folder of the page's files, in
    place of the built-in one.
    """
    service = Service(gallery, load, limits, token)
    failures: dict[int | str, dict[str, Any]] = {code: {"model": answers.Failure} for code in FAILURES}
    app = FastAPI(
        title="crossbatch",
        version=version("crossbatch"),
        description="Searches a gallery of images by example.",
        docs_url=None,  # FastAPI's page of documentation loads scripts from another site
        redoc_url=None,
        lifespan=service.life,
        responses=failures,
    )
    app.add_middleware(Guard, limits=limits, token=token, hosts=tuple(hosts))
    add_errors(app)
    _add_page(app, page)
    _add_session(app, token)
    _add_gallery(app, service)
    _add_map(app, service)
    _add_pictures(app, service)
    _add_searches(app, service)
    return app


def _add_page(app: FastAPI, folder: Path | None) -> None:
    files = page_files() if folder is None else page_files(folder)

    def sent(name: str, request: Request) -> Response:
        if name not in files:
            raise HTTPException(404, "there is no such file")
        file = files[name]
        headers = {"etag": file.etag, "cache-control": "no-cache"}
        if request.headers.get("if-none-match") == file.etag:
            return Response(status_code=304, headers=headers)
        return Response(file.content, media_type=file.type, headers=headers)

    @app.get("/", include_in_schema=False)
    async def index(request: Request) -> Response:
        return sent("index.html", request)

    @app.get("/favicon.ico", include_in_schema=False)
    async def icon(request: Request) -> Response:
        return sent("favicon.ico" if "favicon.ico" in files else "favicon.svg", request)

    @app.get("/page/{name:path}", include_in_schema=False)
    async def asset(name: str, request: Request) -> Response:
        return sent(name, request)


def _add_session(app: FastAPI, token: str | None) -> None:
    @app.post("/session", status_code=204)
    async def session(given: Session, request: Request) -> Response:
        """Check the token, and set a session cookie that no script can read."""
        if token is not None and not same(given.token, token):
            raise RefusedError(401, "token", "this is not the server's token")
        answer = Response(status_code=204)
        if token is not None:
            secure = request.url.scheme == "https"
            answer.set_cookie(COOKIE, session_of(token), httponly=True, samesite="strict", secure=secure)
        return answer


def _add_gallery(app: FastAPI, service: Service) -> None:
    @app.get("/healthz")
    async def healthz() -> answers.Health:
        """Whether the service runs."""
        return answers.Health(status="ok", images=len(service.gallery), ready=service.batcher.ready)

    @app.get("/gallery")
    def about() -> answers.GalleryAnswer:
        """What the gallery holds, and how it is searched."""
        return answers.GalleryAnswer(**service.about())

    @app.get("/labels", dependencies=ONLY_KNOWN)
    def labels(
        contains: Label = "",
        offset: Annotated[int, Query(ge=0, le=10**9)] = 0,
        limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    ) -> answers.LabelsAnswer:
        """Labels in alphabetical order, with the number of images of each."""
        rows = service.gallery.rows
        words = as_label(contains).lower()
        fitting = [label for label in rows.labels if words in label.lower()]
        some = [answers.LabelAnswer(label=name, count=rows.counts[name]) for name in fitting[offset : offset + limit]]
        unlabelled = int((rows.label_of < 0).sum())
        return answers.LabelsAnswer(labels=some, total=len(fitting), unlabelled=unlabelled)

    @app.get("/images", dependencies=ONLY_KNOWN)
    def images(
        label: Annotated[Labels, Query()] = [],  # noqa: B006
        offset: Annotated[int, Query(ge=0, le=10**9)] = 0,
        limit: Annotated[int, Query(ge=1, le=200)] = 60,
    ) -> answers.ImagesAnswer:
        """Images, in the order of indexing."""
        rows = service.gallery.rows
        chosen = np.flatnonzero(rows.labelled(label)) if label else np.arange(len(rows))
        some = chosen[offset : offset + limit].tolist()
        return answers.ImagesAnswer(images=_images(rows, some), total=len(chosen))

    @app.get("/random", dependencies=ONLY_KNOWN)
    def drawn(count: Annotated[int, Query(ge=1, le=200)] = 24) -> answers.ImagesAnswer:
        """Images drawn at random."""
        rows = service.gallery.rows
        some = random.sample(range(len(rows)), min(count, len(rows)))
        return answers.ImagesAnswer(images=_images(rows, some), total=len(rows))


def _add_map(app: FastAPI, service: Service) -> None:
    @app.get("/map", dependencies=ONLY_KNOWN, response_model=answers.PointsAnswer)
    def points(request: Request, limit: Annotated[int, Query(ge=1, le=200_000)] = 50_000) -> Response:
        """The place of each image in the plane."""
        packed = service.map(limit)
        headers = {"etag": packed.etag, "cache-control": "private, no-cache", "vary": "accept-encoding"}
        if request.headers.get("if-none-match") == packed.etag:
            return Response(status_code=304, headers=headers)
        if "gzip" in request.headers.get("accept-encoding", ""):
            headers["content-encoding"] = "gzip"
            return Response(packed.compressed, media_type="application/json", headers=headers)
        return Response(packed.plain, media_type="application/json", headers=headers)


def _images(rows: Rows, some: Iterable[int]) -> list[answers.ImageAnswer]:
    return [answers.ImageAnswer(**rows.image(row).plain()) for row in some]


def _add_pictures(app: FastAPI, service: Service) -> None:
    kinds: dict[int | str, dict[str, Any]] = {200: {"content": {"image/*": {}}}}

    @app.get("/thumbnails/{one}", response_class=Response, responses=kinds)
    def thumbnail(one: Id) -> Response:
        """The thumbnail of an image."""
        rows = service.gallery.rows
        content = service.gallery.thumbnail(row_of(rows, one), rows)
        kept = {"cache-control": FOREVER if one in rows.position else BRIEFLY}
        return Response(content, media_type=media_type(content), headers=kept)

    @app.get("/images/{one}", response_class=Response, responses=kinds)
    async def picture(one: Id) -> Response:
        """The original of an image if its file is unchanged, else its thumbnail."""
        shown = await service.picture(one)
        lasting = shown.kind == "original" and one in service.gallery.rows.position
        cached = FOREVER if lasting else BRIEFLY
        headers = {"cache-control": cached, "x-crossbatch-picture": shown.kind}
        return Response(shown.content, media_type=shown.type, headers=headers)

    @app.post("/previews", response_class=Response, responses=kinds, dependencies=[Depends(a_form), *ONLY_KNOWN])
    async def preview(image: Annotated[UploadFile, File(description="An image file.")]) -> Response:
        """An upload as JPEG: for files that a browser cannot show, such as TIFF and HEIC. Nothing is kept."""
        content = await service.searcher.preview(await _content(image, service.limits))
        return Response(content, media_type="image/jpeg", headers={"cache-control": "no-store"})


async def _content(image: UploadFile, limits: Limits) -> bytes:
    content = await image.read()
    if len(content) > limits.bytes:
        raise RefusedError(413, "too_large", f"an upload has {limits.bytes:,} bytes at most")
    return content


def _add_searches(app: FastAPI, service: Service) -> None:
    most = service.limits.top

    @app.get("/similar/{one}", dependencies=ONLY_KNOWN)
    async def similar(
        one: Id,
        top: Annotated[int, Query(ge=1, le=most)] = min(24, most),
        label: Annotated[Labels, Query()] = [],  # noqa: B006
        min_similarity: Annotated[Similarity, Query()] = -1.0,
    ) -> answers.SearchAnswer:
        """The images most similar to an image of the gallery."""
        answer = await service.searcher.by_id(one, Wish(top, tuple(label), min_similarity))
        return answers.SearchAnswer(**answer)

    @app.post("/search", dependencies=[Depends(a_form), *ONLY_KNOWN])
    async def search(
        image: Annotated[UploadFile | None, File(description="An image file; or else an id.")] = None,
        id: Annotated[Id | None, Form(description="An image of the gallery.")] = None,  # noqa: A002
        box: Annotated[
            str | None, Form(max_length=200, description="left,top,right,bottom: shares, or pixels.")
        ] = None,
        top: Annotated[int, Form(ge=1, le=most)] = min(24, most),
        label: Annotated[Labels, Form()] = [],  # noqa: B006
        min_similarity: Annotated[Similarity, Form()] = -1.0,
    ) -> answers.SearchAnswer:
        """The images most similar to an upload, to an image of the gallery, or to a part of either."""
        wish, part = Wish(top, tuple(label), min_similarity), box or None
        if image is not None and not id:
            content = await _content(image, service.limits)
            return answers.SearchAnswer(**await service.searcher.by_upload(content, image.filename or "", wish, part))
        if image is None and id:
            return answers.SearchAnswer(**await service.searcher.by_id(id, wish, part))
        raise RefusedError(422, "bad_request", "a search takes an image or an id, one of them")

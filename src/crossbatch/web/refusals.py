"""Refusing unknown fields and other content types, and answering every error as a sentence and a code."""

from fastapi import Depends, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, RedirectResponse, Response
from starlette.exceptions import HTTPException

from crossbatch.errors import CrossBatchError
from crossbatch.web.guard import BY_SIGNS, HEADERS
from crossbatch.web.limits import RefusedError

FORMS = ("multipart/form-data", BY_SIGNS)
CODES = {404: "not_found", 405: "method"}


async def only_known(request: Request) -> None:
    """Refuse fields that an address does not have: a misspelt filter would have no effect."""
    route = request.scope["route"].dependant
    known = {field.alias for field in (*route.query_params, *route.body_params)}
    given = [*request.query_params, *(await request.form() if route.body_params else ())]
    unknown = next((name for name in given if name not in known), None)
    if unknown is not None:
        raise RefusedError(422, "bad_request", f"there is no field {unknown[:80]}: take {', '.join(sorted(known))}")


async def a_form(request: Request) -> None:
    """Refuse a body that is no form: its fields would be ignored."""
    kind = request.headers.get("content-type", FORMS[0]).partition(";")[0].strip().lower()
    if kind not in FORMS:
        expected = f"this address takes a form ({FORMS[0]}) with an image, not {kind[:80]}"
        raise RefusedError(415, "no_form", expected)


ONLY_KNOWN = [Depends(only_known)]


def add_errors(app: FastAPI) -> None:
    """Answer every error as JSON with `error`, a sentence, and `code`; a browser with a wrong address gets the page."""

    @app.exception_handler(RefusedError)
    async def refused(_: Request, error: RefusedError) -> JSONResponse:
        return JSONResponse({"error": error.sentence, "code": error.code}, error.status)

    @app.exception_handler(CrossBatchError)
    async def failed(_: Request, error: CrossBatchError) -> JSONResponse:
        return JSONResponse({"error": str(error), "code": "failed"}, 503)

    @app.exception_handler(Exception)
    async def unforeseen(_: Request, __: Exception) -> JSONResponse:
        # This answer passes no middleware, so it gets the headers here. The server logs the error on standard error.
        sentence = "the server failed unexpectedly: its output shows the error"
        return JSONResponse({"error": sentence, "code": "unforeseen"}, 500, headers=HEADERS)

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"][1:]) or "the request"
        problem = "give a file" if where == "image" else first["msg"].lower()
        return JSONResponse({"error": f"{where}: {problem}"[:300], "code": "bad_request"}, 422)

    @app.exception_handler(HTTPException)
    async def other(request: Request, error: HTTPException) -> Response:
        if error.status_code == 404 and _leads_to_page(app, request):
            return RedirectResponse("/", 303)
        content = {"error": str(error.detail)[:300], "code": CODES.get(error.status_code, "bad_request")}
        return JSONResponse(content, error.status_code, headers=error.headers)


def _leads_to_page(app: FastAPI, request: Request) -> bool:
    """Whether a browser asks for an address that begins like no address of the service.

    A path that may name a file, or leave a folder as by `..`, is none of these.
    """
    path: str = request.scope["path"]
    known = {getattr(route, "path", "").lstrip("/").partition("/")[0] for route in app.routes}
    of_file = any(part in path for part in (".", "//", "\\", "\0"))
    by_browser = request.method == "GET" and "text/html" in request.headers.get("accept", "").lower()
    return by_browser and not of_file and path.lstrip("/").partition("/")[0] not in known

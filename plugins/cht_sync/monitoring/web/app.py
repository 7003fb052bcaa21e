"""The FastAPI application of the status page."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from fastapi import Depends, FastAPI, Request, Response
from fastapi.responses import FileResponse
from fastapi.staticfiles import StaticFiles

from cht_sync.monitoring.metrics.routes import router as metrics
from cht_sync.monitoring.web.access import may_read
from cht_sync.monitoring.web.api import router

STATIC = Path(__file__).with_name("static")
# Nothing inline, nothing from elsewhere, and only Airflow's own UI may frame it.
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:;"
        " frame-ancestors 'self'; base-uri 'none'; form-action 'none'"
    ),
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
}


def create_app() -> FastAPI:
    """The application, to be mounted below a prefix.

    Page, JSON and OpenAPI description are for those who may read the DAG ``cht_sync``; the static files hold no data.
    """
    app = FastAPI(title="CHT Sync", version="1", openapi_url=None, docs_url=None, redoc_url=None)

    @app.middleware("http")
    async def with_headers(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
        response = await call_next(request)
        response.headers.update(HEADERS)
        is_static = request.url.path.rpartition("/")[0].endswith("/static")
        response.headers["Cache-Control"] = "no-cache" if is_static else "no-store"
        return response

    @app.get("/", include_in_schema=False, dependencies=[Depends(may_read)])
    def page() -> FileResponse:
        return FileResponse(STATIC / "status.html", media_type="text/html")

    # FastAPI's own route for it would be open to everybody.
    @app.get("/openapi.json", include_in_schema=False, dependencies=[Depends(may_read)])
    def description() -> dict[str, Any]:
        return app.openapi()

    app.include_router(router)
    app.include_router(metrics)
    app.mount("/static", StaticFiles(directory=STATIC), name="static")
    return app

"""`/` says what runs here and how to try it; `/docs` is the reference of `/api`."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path

from fastapi import APIRouter, FastAPI, Request
from fastapi.responses import HTMLResponse
from fastapi.staticfiles import StaticFiles
from jinja2 import Environment, PackageLoader, StrictUndefined

from demarc.web.pages.prose import breakable, paragraphs, words
from demarc.web.pages.reference import Reference, read_document
from demarc.web.pages.start import look_around
from demarc.web.routing import PlatformDep

router = APIRouter(include_in_schema=False)

_ASSETS = Path(__file__).parent / "assets"
_TEMPLATES = Environment(
    loader=PackageLoader("demarc.web.pages"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_TEMPLATES.globals["version"] = version("demarc")
_TEMPLATES.filters["breakable"] = breakable
_TEMPLATES.filters["paragraphs"] = paragraphs
_TEMPLATES.filters["words"] = words
_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


@router.get("/")
async def start(request: Request, platform: PlatformDep) -> HTMLResponse:
    return _page("start.html", place=await look_around(platform, _base(request)))


@router.get("/docs")
async def reference(request: Request) -> HTMLResponse:
    return _page("reference.html", reference=_reference(request.app), base=_base(request))


def mount_assets(app: FastAPI) -> None:
    """The style sheet and the filter box's script."""
    app.mount("/assets", StaticFiles(directory=_ASSETS), name="assets")


def _reference(app: FastAPI) -> Reference:
    """Read once: the document does not change while the process runs."""
    known: Reference | None = getattr(app.state, "reference", None)
    if known is None:
        known = app.state.reference = read_document(app.openapi())
    return known


def _base(request: Request) -> str:
    """How the reader reached us, so that what is printed works as printed."""
    return str(request.base_url).rstrip("/")


def _page(template: str, **values: object) -> HTMLResponse:
    return HTMLResponse(_TEMPLATES.get_template(template).render(**values), headers=_HEADERS)

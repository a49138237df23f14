"""The HTTP application: every surface on one FastAPI app."""

from __future__ import annotations

from fastapi import FastAPI

from demarc.web.bss.auth import routes as auth
from demarc.web.bss.customers import routes as customers
from demarc.web.errors import install_error_handlers
from demarc.web.health import router as health
from demarc.web.middleware import RequestEnvelope
from demarc.web.platform import Platform

BSS_ROUTERS = (auth.router, customers.router)


def create_app(platform: Platform) -> FastAPI:
    """The application of one process; the caller opens and closes what `platform` holds."""
    app = FastAPI(
        title="Demarc BSS API",
        version="1.0.0",
        summary="Sell, provision, authenticate, meter, bill and collect.",
        openapi_url="/api/openapi.json",
        docs_url=None,
        redoc_url=None,
    )
    app.state.platform = platform
    install_error_handlers(app)
    app.include_router(health)
    for router in BSS_ROUTERS:
        app.include_router(router)
    app.add_middleware(RequestEnvelope)
    return app

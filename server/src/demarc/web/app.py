"""The HTTP application: every surface on one FastAPI app."""

from __future__ import annotations

from fastapi import FastAPI

from demarc.web.bodies import BoundedBodies
from demarc.web.bss.auth import routes as auth
from demarc.web.bss.billing import invoices, payments, runs
from demarc.web.bss.customers import routes as customers
from demarc.web.bss.dunning import routes as dunning
from demarc.web.bss.nas import routes as nas
from demarc.web.bss.notifications import routes as notifications
from demarc.web.bss.notifications import templates
from demarc.web.bss.plans import profiles
from demarc.web.bss.plans import routes as plans
from demarc.web.bss.pools import routes as pools
from demarc.web.bss.sandbox import routes as sandbox
from demarc.web.bss.services import bulk as service_bulk
from demarc.web.bss.services import routes as services
from demarc.web.bss.sessions import policies
from demarc.web.bss.sessions import routes as sessions
from demarc.web.bss.subscribers import authorization
from demarc.web.bss.subscribers import routes as subscribers
from demarc.web.bss.subscriptions import routes as subscriptions
from demarc.web.bss.usage import caps
from demarc.web.bss.usage import routes as usage
from demarc.web.bss.users import routes as users
from demarc.web.errors import install_error_handlers
from demarc.web.health import router as health
from demarc.web.limits import RequestLimits
from demarc.web.middleware import RequestEnvelope
from demarc.web.openapi import install_openapi
from demarc.web.pages.routes import mount_assets
from demarc.web.pages.routes import router as pages
from demarc.web.platform import Platform
from demarc.web.routing import ExactPaths

BSS_ROUTERS = (
    auth.router,
    authorization.router,
    auth.session,
    caps.router,
    customers.router,
    dunning.router,
    invoices.router,
    nas.router,
    notifications.router,
    templates.router,
    payments.router,
    plans.router,
    policies.router,
    pools.router,
    profiles.router,
    pools.addresses,
    pools.assignments,
    runs.router,
    sandbox.router,
    service_bulk.router,  # before the services, whose {service_id} would take its place
    services.router,
    sessions.router,
    sessions.orders,
    subscribers.router,
    subscriptions.router,
    usage.router,
    users.router,
    users.roles,
    users.service_tokens,
)


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
    app.state.limits = RequestLimits(platform.settings)
    install_error_handlers(app)
    install_openapi(app)
    app.include_router(health)
    app.include_router(pages)
    mount_assets(app)
    for router in BSS_ROUTERS:
        app.include_router(router)
    app.router.middleware_stack = ExactPaths(app.router.app, BSS_ROUTERS)
    app.add_middleware(BoundedBodies)
    app.add_middleware(RequestEnvelope, limits=app.state.limits)
    return app

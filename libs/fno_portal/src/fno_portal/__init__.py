"""One client for fibre network operators: coverage, orders and faults by API, portal and e-mail."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fno_portal.audit import AuditRecord, AuditSink, FileAudit, LoggingAudit, MemoryAudit
from fno_portal.base import Capability, Description, FNOClientBase
from fno_portal.channel import Channel, Limits
from fno_portal.config import FileSecrets, SecretsProvider, read_environment
from fno_portal.coverage import CoverageCache, MemoryCoverageCache
from fno_portal.coverage_file import FileCoverageCache
from fno_portal.drivers.aex import AExClient
from fno_portal.drivers.document import DocumentClient, FrogfootClient, VumatelClient
from fno_portal.drivers.openserve import OpenserveClient
from fno_portal.drivers.tmf import TMFClient
from fno_portal.errors import (
    FNOAmbiguousAddressError,
    FNOAuthError,
    FNOCircuitOpenError,
    FNOConfigError,
    FNOCoverageError,
    FNODuplicateError,
    FNOError,
    FNOFaultError,
    FNOHumanNeededError,
    FNOLayoutError,
    FNOMailError,
    FNONotConfiguredError,
    FNONotFoundError,
    FNOOrderError,
    FNOPackageError,
    FNOProtocolError,
    FNORateLimitError,
    FNORicaError,
    FNOTimeoutError,
    FNOTransitionError,
    FNOUnavailableError,
    FNOUnknownOperatorError,
    FNOUnknownOutcomeError,
    FNOUnsupportedError,
    FNOValidationError,
    FNOWebhookError,
)
from fno_portal.mail.parser import FNOEmailParser
from fno_portal.master import FNOMasterPortal
from fno_portal.models import (
    Address,
    Cancellation,
    CoverageAnswer,
    CoverageResult,
    CoverageState,
    FNOOrder,
    OrderEvent,
    OrderRequest,
    OrderStatus,
    OrderType,
    Outcome,
    PackageOption,
    RicaVerification,
    Severity,
    UnmatchedMessage,
)
from fno_portal.operators import FNO
from fno_portal.orders.sqlite import SqliteStore
from fno_portal.orders.store import MemoryStore, OrderRecord, OrderStore
from fno_portal.registry import Workshop, register_driver
from fno_portal.rica import RicaRegister, verify_identity

if TYPE_CHECKING:
    from fno_portal.portal.automation import FNOPortalAutomation, OpenservePortalAutomation
    from fno_portal.portal.browser import SharedBrowser
    from fno_portal.portal.driver import PortalClient

__version__ = "0.1.0"

# Heavy, with Playwright behind them: these load when they are first asked for.
_PORTAL = {
    "FNOPortalAutomation": "fno_portal.portal.automation",
    "OpenservePortalAutomation": "fno_portal.portal.automation",
    "PortalClient": "fno_portal.portal.driver",
    "SharedBrowser": "fno_portal.portal.browser",
}


def __getattr__(name: str) -> Any:
    if name not in _PORTAL:
        raise AttributeError(f"module 'fno_portal' has no attribute {name!r}")
    from importlib import import_module  # noqa: PLC0415

    return getattr(import_module(_PORTAL[name]), name)


__all__ = [
    "FNO", "AExClient", "Address", "AuditRecord", "AuditSink", "Cancellation", "Capability", "Channel", "CoverageAnswer",
    "CoverageCache", "CoverageResult", "CoverageState", "Description", "DocumentClient", "FNOAmbiguousAddressError",
    "FNOAuthError", "FNOCircuitOpenError", "FNOClientBase", "FNOConfigError", "FNOCoverageError", "FNODuplicateError",
    "FNOEmailParser", "FNOError", "FNOFaultError", "FNOHumanNeededError", "FNOLayoutError", "FNOMailError",
    "FNOMasterPortal", "FNONotConfiguredError", "FNONotFoundError", "FNOOrder", "FNOOrderError", "FNOPackageError",
    "FNOPortalAutomation", "FNOProtocolError", "FNORateLimitError", "FNORicaError", "FNOTimeoutError",
    "FNOTransitionError", "FNOUnavailableError", "FNOUnknownOperatorError", "FNOUnknownOutcomeError",
    "FNOUnsupportedError", "FNOValidationError", "FNOWebhookError", "FileAudit", "FileCoverageCache", "FileSecrets", "FrogfootClient",
    "Limits", "LoggingAudit", "MemoryAudit", "MemoryCoverageCache", "MemoryStore", "OpenserveClient",
    "OpenservePortalAutomation", "OrderEvent", "OrderRecord", "OrderRequest", "OrderStatus", "OrderStore", "OrderType",
    "Outcome", "PackageOption", "PortalClient", "RicaRegister", "RicaVerification", "SecretsProvider", "Severity",
    "SharedBrowser", "SqliteStore", "TMFClient", "UnmatchedMessage", "VumatelClient", "Workshop", "read_environment",
    "register_driver", "verify_identity",
]  # fmt: skip

"""An asyncio client for the NetSapiens PBX API v2."""

from netsapiens_asyncio._wire import RetryPolicy
from netsapiens_asyncio.auth import NetsapiensAPI
from netsapiens_asyncio.calls import CallsAPI
from netsapiens_asyncio.cdrs import CdrsAPI, IncompleteCdrs
from netsapiens_asyncio.directory import DevicesAPI, DomainsAPI, PhoneNumbersAPI, SmsNumbersAPI, UsersAPI
from netsapiens_asyncio.errors import (
    ApiError,
    AuthenticationError,
    BadRequest,
    Conflict,
    Forbidden,
    InvalidInput,
    InvalidResponse,
    MfaRequired,
    NetsapiensError,
    NoAnswer,
    NotApplied,
    NotFound,
    OutcomeUnknown,
    RateLimited,
    ServerError,
    Unauthorized,
    Unreachable,
)
from netsapiens_asyncio.events import Event, parse_events
from netsapiens_asyncio.keeper import Gap, KeeperTiming, SubscriptionKeeper
from netsapiens_asyncio.messages import MessageAPI
from netsapiens_asyncio.subscribe import VALID_MODELS, SubscriptionAPI
from netsapiens_asyncio.tracing import Hooks, RequestEnded, RequestStarted

__version__ = "0.1.0"

__all__ = [
    "VALID_MODELS",
    "ApiError",
    "AuthenticationError",
    "BadRequest",
    "CallsAPI",
    "CdrsAPI",
    "Conflict",
    "DevicesAPI",
    "DomainsAPI",
    "Event",
    "Forbidden",
    "Gap",
    "Hooks",
    "IncompleteCdrs",
    "InvalidInput",
    "InvalidResponse",
    "KeeperTiming",
    "MessageAPI",
    "MfaRequired",
    "NetsapiensAPI",
    "NetsapiensError",
    "NoAnswer",
    "NotApplied",
    "NotFound",
    "OutcomeUnknown",
    "PhoneNumbersAPI",
    "RateLimited",
    "RequestEnded",
    "RequestStarted",
    "RetryPolicy",
    "ServerError",
    "SmsNumbersAPI",
    "SubscriptionAPI",
    "SubscriptionKeeper",
    "Unauthorized",
    "Unreachable",
    "UsersAPI",
    "__version__",
    "parse_events",
]

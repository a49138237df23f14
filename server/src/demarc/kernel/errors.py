"""Errors by category. Surfaces map the category to HTTP, jobs map it to retry or stop (ADR 0005)."""

from __future__ import annotations

from collections.abc import Awaitable
from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Detail:
    """One field's problem, in the words of the caller's request."""

    field: str
    message: str


class DemarcError(Exception):
    """Base of every error that Demarc raises on purpose.

    `code` is stable and machine-readable, `message` says what is wrong and what to do; neither holds a secret.
    """

    code = "ERROR"

    def __init__(self, message: str, *, code: str | None = None, details: tuple[Detail, ...] = ()) -> None:
        super().__init__(message)
        self.message = message
        self.code = code or type(self).code
        self.details = details


class Malformed(DemarcError):
    """The request cannot be read at all (bad JSON, bad header)."""

    code = "MALFORMED_REQUEST"


class Invalid(DemarcError):
    """The request can be read but a value is not acceptable."""

    code = "VALIDATION_ERROR"


class Unauthenticated(DemarcError):
    code = "UNAUTHENTICATED"


class Forbidden(DemarcError):
    code = "FORBIDDEN"


class NotFound(DemarcError):
    """No such row for this tenant; another tenant's row looks the same."""

    code = "NOT_FOUND"


class Conflict(DemarcError):
    """The request is fine, the state of things is not."""

    code = "CONFLICT"


class TooLarge(DemarcError):
    """The request's body is larger than anything that is documented."""

    code = "BODY_TOO_LARGE"


class LimitExceeded(DemarcError):
    code = "RATE_LIMITED"

    def __init__(self, message: str, *, retry_after_seconds: int) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds


class Unavailable(DemarcError):
    """Something outside (database, mail server, NAS) does not answer; trying again later may work."""

    code = "UNAVAILABLE"


class Misconfigured(DemarcError):
    """The environment, a key or a directory is wrong: a person has to act before the platform can run."""

    code = "MISCONFIGURED"


def invalid(field: str, message: str, *, code: str | None = None) -> Invalid:
    """An `Invalid` about one field."""
    return Invalid(f"{field}: {message}", code=code, details=(Detail(field, message),))


async def naming(field: str, found: Awaitable[T]) -> T:
    """What is found; a reference that leads nowhere names the field it came in.

    Raises:
        NotFound: as `found` raises it, with the field in its details.
    """
    try:
        return await found
    except NotFound as error:
        raise NotFound(error.message, code=error.code, details=(Detail(field, error.message),)) from None

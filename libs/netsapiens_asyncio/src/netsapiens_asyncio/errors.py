"""Everything this library raises. One tree: `except NetsapiensError` catches all of it.

NetsapiensError
  InvalidInput (also ValueError)     refused before the wire; names the field
  AuthenticationError                no usable token; MfaRequired when a passcode is missing
  ApiError                           the PBX answered with an error: status, code, message, bounded body
    BadRequest 400/422, Unauthorized 401, Forbidden 403, NotFound 404, Conflict 409, RateLimited 429, ServerError 5xx
  Unreachable                        no connection: nothing was sent
  NoAnswer                           sent, and no answer came
    OutcomeUnknown                   the same for a write that must not be repeated
  NotApplied                         answered "Accepted", and never became visible
  InvalidResponse                    an answer that is not what the API documents
"""

from __future__ import annotations

BODY_LIMIT = 2_000  # characters of an answer that an error keeps


class NetsapiensError(Exception):
    """The root of the tree."""


class InvalidInput(NetsapiensError, ValueError):
    """An argument was refused before anything was sent.

    Attributes:
        field: name of the argument.
    """

    def __init__(self, field: str, reason: str) -> None:
        self.field = field
        super().__init__(f"{field}: {reason}")


class AuthenticationError(NetsapiensError):
    """No token could be obtained. `status` is the PBX's answer, None when there was none."""

    status: int | None

    def __init__(self, message: str, *, status: int | None = None) -> None:
        self.status = status
        super().__init__(message)


class MfaRequired(AuthenticationError):
    """The account wants a passcode: call `get_token(passcode=...)`."""


class ApiError(NetsapiensError):
    """The PBX refused or failed.

    Attributes:
        status: HTTP status.
        code: the `code` of the PBX's own error object, else the status.
        message: the PBX's own words; what was sent as text or secret is masked.
        method, path: of the request, path without host and query.
        body: the answer, masked, at most `BODY_LIMIT` characters.
        request_id: sent as `X-Request-ID`.
        may_have_happened: True when a write may have taken effect nevertheless.
    """

    status: int

    def __init__(
        self,
        *,
        status: int,
        code: int,
        message: str,
        method: str,
        path: str,
        body: str,
        request_id: str,
        may_have_happened: bool = False,
    ) -> None:
        self.status = status
        self.code = code
        self.message = message
        self.method = method
        self.path = path
        self.body = body[:BODY_LIMIT]
        self.request_id = request_id
        self.may_have_happened = may_have_happened
        # Not super(): Unauthorized has a second base, whose __init__ would take the status away.
        Exception.__init__(self, f"{method} {path} answered {status}: {message} (request {request_id})")


class BadRequest(ApiError):
    """400 or 422."""


class Unauthorized(ApiError, AuthenticationError):
    """401, also with a fresh token."""

    status: int


class Forbidden(ApiError):
    """403: the scope of the account does not allow it."""


class NotFound(ApiError):
    """404."""


class Conflict(ApiError):
    """409: it exists."""


class RateLimited(ApiError):
    """429, after the allowed waiting. `retry_after` is what the PBX asked for, in seconds, else None."""

    retry_after: float | None = None


class ServerError(ApiError):
    """5xx."""


class Unreachable(NetsapiensError):
    """No connection to the PBX; nothing was sent."""


class NoAnswer(NetsapiensError):
    """The request was sent and no (whole) answer came."""

    def __init__(self, message: str, *, method: str = "", path: str = "", request_id: str = "") -> None:
        self.method = method
        self.path = path
        self.request_id = request_id
        super().__init__(message)


class OutcomeUnknown(NoAnswer):
    """A write was sent, no answer came, and it could not be seen on the PBX. Look before you repeat it."""


class NotApplied(NetsapiensError):
    """The PBX answered "Accepted" and the change did not become visible in time."""


class InvalidResponse(NetsapiensError):
    """A success that is not JSON, or not of the documented shape."""


BY_STATUS: dict[int, type[ApiError]] = {
    400: BadRequest,
    401: Unauthorized,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
    422: BadRequest,
    429: RateLimited,
}


def error_class(status: int) -> type[ApiError]:
    """The class for an HTTP status."""
    if status >= 500:  # noqa: PLR2004
        return ServerError
    return BY_STATUS.get(status, ApiError)

"""Errors on the wire: one envelope, `{"error": {code, message, details: [{field, message}]}}`."""

from __future__ import annotations

import asyncpg
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from starlette.exceptions import HTTPException

from demarc.kernel.errors import (
    Conflict,
    DemarcError,
    Detail,
    Forbidden,
    Invalid,
    LimitExceeded,
    Malformed,
    Misconfigured,
    NotFound,
    TooLarge,
    Unauthenticated,
    Unavailable,
)
from demarc.kernel.logs import logger

_LOG = logger(__name__)

STATUS: dict[type[DemarcError], int] = {
    Malformed: 400,
    Unauthenticated: 401,
    Forbidden: 403,
    NotFound: 404,
    Conflict: 409,
    TooLarge: 413,
    Invalid: 422,
    LimitExceeded: 429,
    Misconfigured: 500,
    Unavailable: 503,
}


class ErrorDetail(BaseModel):
    """One field's problem."""

    field: str
    message: str


class ErrorBody(BaseModel):
    """What went wrong and what to do about it; `code` is stable."""

    code: str
    message: str
    details: list[ErrorDetail] = []


class ErrorEnvelope(BaseModel):
    """Every answer of 400 and above."""

    error: ErrorBody


def status_of(error: DemarcError) -> int:
    return next((status for kind, status in STATUS.items() if isinstance(error, kind)), 500)


def envelope(status: int, code: str, message: str, details: tuple[Detail, ...] = ()) -> JSONResponse:
    body = ErrorEnvelope(
        error=ErrorBody(
            code=code,
            message=message,
            details=[ErrorDetail(field=d.field, message=d.message) for d in details],
        )
    )
    return JSONResponse(body.model_dump(), status_code=status)


def from_validation(error: RequestValidationError) -> DemarcError:
    """FastAPI's findings as one of ours; the values themselves are not repeated (they may be secrets)."""
    findings = error.errors()
    if any(finding["type"] == "json_invalid" for finding in findings):
        return Malformed("the body is not valid JSON")
    details = tuple(
        Detail(".".join(str(part) for part in f["loc"][1:]) or str(f["loc"][0]), f["msg"]) for f in findings
    )
    return Invalid(f"{len(details)} value(s) are not acceptable; see details", details=details)


def respond(error: DemarcError) -> JSONResponse:
    """The answer to a typed error; what a server should not say of itself stays in the log."""
    status = status_of(error)
    if isinstance(error, Misconfigured):
        _LOG.error("misconfigured", reason=error.message)
        return envelope(
            500,
            "INTERNAL_ERROR",
            "the platform is not set up right; its operator finds the reason in the log",
        )
    response = envelope(status, error.code, error.message, error.details)
    if isinstance(error, LimitExceeded):
        response.headers["Retry-After"] = str(error.retry_after_seconds)
    if isinstance(error, Unauthenticated):
        response.headers["WWW-Authenticate"] = "Bearer"
    return response


def install_error_handlers(app: FastAPI) -> None:
    """Map every error to the envelope."""

    @app.exception_handler(DemarcError)
    async def _typed(_request: Request, error: DemarcError) -> JSONResponse:
        return respond(error)

    @app.exception_handler(RequestValidationError)
    async def _validation(_request: Request, error: RequestValidationError) -> JSONResponse:
        return respond(from_validation(error))

    @app.exception_handler(HTTPException)
    async def _http(_request: Request, error: HTTPException) -> JSONResponse:
        code = {404: "NOT_FOUND", 405: "METHOD_NOT_ALLOWED"}.get(error.status_code, "HTTP_ERROR")
        return envelope(error.status_code, code, str(error.detail))

    @app.exception_handler(asyncpg.UniqueViolationError)
    async def _duplicate(_request: Request, error: asyncpg.UniqueViolationError) -> JSONResponse:
        _LOG.info("duplicate", constraint=error.constraint_name)
        return envelope(409, "DUPLICATE", "a row with one of these values exists already")

    @app.exception_handler(asyncpg.UntranslatableCharacterError)
    @app.exception_handler(asyncpg.CharacterNotInRepertoireError)
    async def _nul(_request: Request, _error: asyncpg.PostgresError) -> JSONResponse:
        return envelope(422, "VALIDATION_ERROR", "a text holds a NUL character, which cannot be stored")

    @app.exception_handler(Exception)
    async def _unexpected(_request: Request, error: Exception) -> JSONResponse:
        _LOG.error("unexpected error", exc_info=error)
        return envelope(
            500, "INTERNAL_ERROR", "something went wrong on our side; the request id finds it in the log"
        )

"""The RICA gate: who is connected must be known. The identity number is checked here and kept nowhere."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Protocol

from pydantic import ValidationError
from stdnum.exceptions import ValidationError as NumberError
from stdnum.za import idnr

from fno_portal.errors import FNORicaError, FNOValidationError
from fno_portal.models import OrderRequest, RicaVerification
from fno_portal.orders.intake import invalid

_CLOCK_SKEW = timedelta(minutes=5)


class RicaRegister(Protocol):
    """Where the verifications of customers are kept; an order without its own record is looked up here."""

    async def find(self, customer_id: str) -> RicaVerification | None:
        """The customer's verification, or None."""


def check_id_number(number: str) -> None:
    """Check a South African identity number: length, date of birth, citizenship digit, check digit (Luhn).

    Raises:
        FNOValidationError: it is not one. The message does not repeat it.
    """
    try:
        idnr.validate(number)
    except NumberError as error:
        raise FNOValidationError(
            f"the identity number is not valid ({type(error).__name__})",
            hint="Read it again from the document",
        ) from None


def verify_identity(
    *,
    id_number: str,
    verified_by: str,
    method: str,
    documents: Iterable[str],
    evidence: bytes,
    verified_at: datetime | None = None,
) -> RicaVerification:
    """Make the record of a verification. The number is checked and forgotten; of the evidence only its SHA-256 stays.

    Args:
        id_number: the South African identity number that stands in the documents.
        verified_by: who saw them.
        method: how (in person, video, …).
        documents: which ("green bar-coded ID", "proof of address").
        evidence: the scan or the signed form; keep it in your own archive.
        verified_at: now, when missing.

    Raises:
        FNOValidationError: no valid number, no documents or no evidence.
    """
    check_id_number(id_number)
    names = tuple(documents)
    if not names or not evidence:
        raise FNOValidationError("documents and evidence are missing", hint="Say which documents were seen")
    try:
        return RicaVerification(
            verified_by=verified_by,
            verified_at=verified_at or datetime.now(UTC),
            method=method,
            documents=names,
            evidence_hash=f"sha256:{hashlib.sha256(evidence).hexdigest()}",
        )
    except ValidationError as error:
        raise invalid(error, None, "the verification") from None


async def require_verified(
    request: OrderRequest, register: RicaRegister | None, *, fno: str, now: datetime
) -> OrderRequest:
    """The request with its verification.

    Raises:
        FNORicaError: there is none, or it is dated in the future.
    """
    record = request.rica or (await register.find(request.customer_id) if register else None)
    if record is None:
        raise FNORicaError(
            "the customer's identity is not verified; nothing was ordered",
            fno=fno,
            hint="Call verify_identity and hand its record in as `rica`; `rica_verified: true` alone proves nothing",
        )
    seen = record.verified_at if record.verified_at.tzinfo else record.verified_at.replace(tzinfo=UTC)
    if seen > now + _CLOCK_SKEW:
        raise FNORicaError("the verification is dated in the future", fno=fno, hint="Correct verified_at")
    return request.model_copy(update={"rica": record})

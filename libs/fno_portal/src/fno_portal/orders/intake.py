"""From the documented `order_data` dict to a checked OrderRequest."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Any
from uuid import uuid4

from pydantic import ValidationError

from fno_portal.errors import FNOValidationError
from fno_portal.models import OrderRequest, OrderType, RicaVerification
from fno_portal.redaction import contains_id_number

_DERIVED = {"rica_verified", "fno", "id", "status", "fno_reference"}
_NEEDS: dict[OrderType, tuple[str, ...]] = {
    OrderType.NEW: ("package",),
    OrderType.TAKEOVER: ("package", "losing_isp"),
    OrderType.UPGRADE: ("package", "service_reference"),
    OrderType.DOWNGRADE: ("package", "service_reference"),
    OrderType.RELOCATION: ("package", "service_reference", "new_address"),
    OrderType.CANCELLATION: ("service_reference", "effective_date"),
}


def read_request(order_data: Mapping[str, Any], *, fno: str) -> OrderRequest:
    """Check what is asked. `id` is taken as our reference, and a fresh one is made where none is given.

    Raises:
        FNOValidationError: fields missing, unknown or malformed, an identity number anywhere.
    """
    fields = {key: value for key, value in order_data.items() if key not in _DERIVED}
    fields["reference"] = order_data.get("reference") or order_data.get("id") or f"fno-{uuid4().hex}"
    _refuse_id_numbers(fields, fno)
    try:
        request = OrderRequest.model_validate(fields)
    except ValidationError as error:
        raise invalid(error, fno, "the order") from None
    missing = [name for name in _NEEDS[request.type] if not getattr(request, name)]
    if missing:
        raise FNOValidationError(
            f"an order of type {request.type.value} needs {', '.join(missing)}", fno=fno, hint="Add it"
        )
    return request


def check_dates(request: OrderRequest, today: date, *, fno: str) -> None:
    """Refuse what is asked for a day before today.

    Raises:
        FNOValidationError: a date is past.
    """
    for name in ("requested_date", "effective_date"):
        check_not_past(getattr(request, name), today, fno=fno, what=name)


def check_not_past(day: date | None, today: date, *, fno: str, what: str) -> None:
    """Refuse a date before today.

    Raises:
        FNOValidationError: it is past.
    """
    if day is not None and day < today:
        raise FNOValidationError(f"{what} {day} is in the past", fno=fno, hint=f"Choose {today} or later")


def invalid(error: ValidationError, fno: str | None, what: str) -> FNOValidationError:
    """Pydantic's findings without the values that were handed in."""
    found = "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors()[:5])
    return FNOValidationError(f"{what} is not valid: {found}", fno=fno, hint="Mend the fields named")


def _refuse_id_numbers(fields: Mapping[str, Any], fno: str) -> None:
    for key, value in fields.items():
        if key == "rica" or isinstance(value, RicaVerification):
            continue
        if contains_id_number(str(value)) or "id_number" in key.lower():
            raise FNOValidationError(
                f"{key} holds an identity number",
                fno=fno,
                hint="Take it out: hand it to verify_identity, which checks it and forgets it",
            )

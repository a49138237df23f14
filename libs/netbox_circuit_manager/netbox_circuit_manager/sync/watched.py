"""Calls of a provider's methods whose empty answers are told apart from failures.

A provider written after the guide catches every exception and returns `False`, `[]` or `{}`. Its session remembers
which requests failed, so the emptiness is the carrier's answer only when none did.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import requests
from django.core.exceptions import MultipleObjectsReturned, ObjectDoesNotExist

from ..providers.errors import AuthenticationError, BadAnswer, ProviderError, ProviderUnavailable, RowRefused
from ..providers.transport import CarrierSession, RequestFailure, Watch, explain_exception

AUTHENTICATION_STATUSES = (400, 401, 403)
# What code raises that did not expect an answer, or what NetBox has
UNUSABLE = (
    ArithmeticError,
    AttributeError,
    LookupError,
    MultipleObjectsReturned,
    ObjectDoesNotExist,
    TypeError,
    ValueError,
)


class Watched:
    """A provider whose every call either brings a usable answer or raises a `ProviderError`."""

    def __init__(self, provider: Any) -> None:
        self.provider = provider

    def authenticate(self) -> None:
        """Raises `AuthenticationError` when the carrier refused, `ProviderUnavailable` when it did not answer."""
        accepted, failures = self._call(self.provider.authenticate)
        if accepted:
            return
        refusal = failures[0] if failures else None
        if refusal is not None and refusal.status not in AUTHENTICATION_STATUSES:
            raise ProviderUnavailable(f"The carrier could not be asked to authenticate: {refusal}")
        raise AuthenticationError(
            f"The carrier refused the credentials ({refusal})"
            if refusal
            else "The carrier refused the credentials"
        )

    def get_circuits(self) -> list[dict[str, Any]]:
        """Every circuit. Raises when a request failed, even if the method returned a list: it may be a part."""
        rows, failures = self._call(self.provider.get_circuits)
        if failures:
            raise ProviderUnavailable(f"The list of circuits was not read: {failures[-1]}")
        if not isinstance(rows, list):
            raise BadAnswer(f"get_circuits() returned {type(rows).__name__}, not a list")
        return rows

    def get_circuit_details(self, circuit_id: str) -> dict[str, Any]:
        """One circuit's details; an empty answer is a failure, for nothing could be written from it."""
        details, failures = self._call(lambda: self.provider.get_circuit_details(circuit_id))
        if failures:
            raise ProviderUnavailable(f"The details were not read: {failures[-1]}")
        if not isinstance(details, dict) or not details:
            raise BadAnswer("The carrier answered no details")
        return details

    def match(self, row: dict[str, Any]) -> Any:
        """The circuit that the provider's own `_match_circuit()` finds, None when it finds none."""
        circuit, _failures = self._call(lambda: self.provider._match_circuit(row))  # noqa: SLF001 - the documented name
        return circuit

    def sync(self, method: str, circuit: Any, details: dict[str, Any]) -> None:
        """Calls one of the sync methods. Raises `RowRefused` when it says that it did not succeed."""
        write = getattr(self.provider, method, None)
        if write is None:
            return
        done, failures = self._call(lambda: write(circuit, details))
        if failures:
            raise ProviderUnavailable(f"{method}() needed a request that failed: {failures[-1]}")
        if not done:
            raise RowRefused(f"{method}() returned {done!r}: the provider's code could not write it")

    def run_all(self) -> dict[str, Any]:
        """A provider's own `sync_all()`. Raises when it counted no success while requests failed."""
        result, failures = self._call(self.provider.sync_all)
        if not isinstance(result, dict):
            raise BadAnswer(f"sync_all() returned {type(result).__name__}, not a dictionary")
        if failures and not result.get("success"):
            raise ProviderUnavailable(f"Nothing was synced: {failures[-1]}")
        return result

    def _call(self, method: Callable[[], Any]) -> tuple[Any, list[RequestFailure]]:
        with self._watching() as watch:
            try:
                return method(), watch.failures
            except ProviderError:
                raise
            except requests.RequestException as error:
                reason = watch.failures[-1] if watch.failures else explain_exception(error)
                raise ProviderUnavailable(f"The carrier did not answer usably: {reason}") from error
            except UNUSABLE as error:
                raise BadAnswer(
                    f"The provider's code could not use the answer ({type(error).__name__}: {error})"
                ) from error

    @contextmanager
    def _watching(self) -> Iterator[Watch]:
        session = getattr(self.provider, "session", None)
        if isinstance(session, CarrierSession):
            with session.watching() as watch:
                yield watch
        else:
            yield Watch()

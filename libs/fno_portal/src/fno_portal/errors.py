"""The error tree. Each error names the operator, says what is wrong and what to do; none carries a secret or an ID number."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fno_portal.redaction import redact, redact_text


class FNOError(Exception):
    """Base of every error of this library.

    Attributes:
        fno: the operator's name, or None when no operator is concerned.
        hint: what to do about it, or "".
        code: a stable word per kind of error, for programs.
    """

    code = "fno_error"

    def __init__(self, message: str = "", *, fno: Any = None, hint: str = "") -> None:
        """Compose `operator: message. hint`, redacted."""
        self.fno: str | None = None if fno is None else str(getattr(fno, "value", fno))
        self.message = redact_text(message)
        self.hint = redact_text(hint)
        text = f"{self.fno}: {self.message}" if self.fno else self.message
        super().__init__(f"{text.rstrip('.')}. {self.hint}" if self.hint else text)

    def to_dict(self) -> dict[str, Any]:
        """`{"code", "fno", "message", "hint"}`, all redacted."""
        return {"code": self.code, "fno": self.fno, "message": self.message, "hint": self.hint}


class FNOCoverageError(FNOError):
    """A coverage check failed: coverage is unknown, which is never "not covered"."""

    code = "coverage_failed"


class FNOOrderError(FNOError):
    """An order could not be made or changed."""

    code = "order_failed"


class FNOAuthError(FNOError):
    """The operator did not accept our credentials or our session."""

    code = "auth_failed"


class FNOTimeoutError(FNOError):
    """The operator did not answer within its deadline."""

    code = "timeout"


class FNOFaultError(FNOError):
    """A fault could not be reported or read."""

    code = "fault_failed"


class FNOMailError(FNOError):
    """The mailbox cannot be read."""

    code = "mail_failed"


class FNOAmbiguousAddressError(FNOCoverageError):
    """The operator knows several places of that name; `candidates` lists them with their keys."""

    code = "address_ambiguous"

    def __init__(
        self, message: str, *, fno: Any = None, hint: str = "", candidates: Sequence[dict[str, Any]] = ()
    ) -> None:
        """Keep the candidates: `[{"address", "keys"}]`."""
        super().__init__(message, fno=fno, hint=hint)
        self.candidates: list[dict[str, Any]] = redact(list(candidates))

    def to_dict(self) -> dict[str, Any]:
        """As its base, with the candidates."""
        return {**super().to_dict(), "candidates": self.candidates}


class FNOValidationError(FNOError, ValueError):
    """What was handed in cannot be right; nothing was sent."""

    code = "invalid"


class FNOUnknownOperatorError(FNOValidationError):
    """No operator has that name."""

    code = "operator_unknown"


class FNONotConfiguredError(FNOError, ValueError):
    """The operator is known, but no credentials are configured for it."""

    code = "not_configured"


class FNOConfigError(FNOError, ValueError):
    """The configuration cannot work as it stands."""

    code = "misconfigured"


class FNOUnsupportedError(FNOError):
    """The operator's channel cannot do this; `describe()` lists what it can."""

    code = "unsupported"


class FNORicaError(FNOOrderError):
    """The customer's identity is not verified as RICA asks; the order was not sent."""

    code = "rica_missing"


class FNOPackageError(FNOOrderError):
    """The package is not on offer at that address."""

    code = "package_not_on_offer"


class FNODuplicateError(FNOOrderError):
    """The same reference was used before for a different order."""

    code = "reference_reused"


class FNOTransitionError(FNOOrderError):
    """The order's present state does not allow that."""

    code = "illegal_transition"


class FNOUnknownOutcomeError(FNOOrderError):
    """The order was sent, but whether the operator took it cannot be told now; it will not be sent again."""

    code = "outcome_unknown"


class FNOUnavailableError(FNOError):
    """The operator cannot be reached or answers with a failure of its own.

    `sent` is False only where the request certainly never left us.
    """

    code = "unavailable"

    def __init__(self, message: str = "", *, fno: Any = None, hint: str = "", sent: bool = True) -> None:
        """Say whether the request may have reached the operator."""
        super().__init__(message, fno=fno, hint=hint)
        self.sent = sent


class FNOCircuitOpenError(FNOUnavailableError):
    """The operator failed too often just now; it is left alone for a while. Nothing was sent."""

    code = "circuit_open"


class FNORateLimitError(FNOUnavailableError):
    """A rate budget is used up: our own (`ours`), or the operator's. Nothing was done."""

    code = "rate_limited"

    def __init__(
        self, message: str = "", *, fno: Any = None, hint: str = "", sent: bool = True, ours: bool = False
    ) -> None:
        """Say whose budget it is."""
        super().__init__(message, fno=fno, hint=hint, sent=sent)
        self.ours = ours

    def to_dict(self) -> dict[str, Any]:
        """As its base, with `ours`."""
        return {**super().to_dict(), "ours": self.ours}


class FNOProtocolError(FNOError):
    """The operator answered with something that its contract does not have (HTML for JSON, missing fields)."""

    code = "protocol"


class FNOLayoutError(FNOProtocolError):
    """A portal page is not laid out as its selectors say; `evidence` points to the screenshot and the HTML."""

    code = "layout_changed"

    def __init__(self, message: str, *, fno: Any = None, hint: str = "", evidence: str | None = None) -> None:
        """Keep where the evidence lies."""
        super().__init__(message, fno=fno, hint=hint)
        self.evidence = evidence


class FNOHumanNeededError(FNOAuthError):
    """A person has to act in the portal (a CAPTCHA); `evidence` shows the page."""

    code = "human_needed"

    def __init__(self, message: str, *, fno: Any = None, hint: str = "", evidence: str | None = None) -> None:
        """Keep where the evidence lies."""
        super().__init__(message, fno=fno, hint=hint)
        self.evidence = evidence


class FNONotFoundError(FNOError):
    """The operator, or our store, has no such order, fault or place."""

    code = "not_found"


class FNOWebhookError(FNOError):
    """A call from outside that does not prove to be the operator's."""

    code = "webhook_refused"

"""Whether a mail comes from the operator: the From domain, and DKIM or SPF as our own mail server found them (RFC 8601)."""

from __future__ import annotations

from collections.abc import Iterable
from email.message import EmailMessage
from email.utils import getaddresses

import authres


def sender_problem(message: EmailMessage, domains: Iterable[str], authserv_ids: Iterable[str]) -> str | None:
    """Why the mail is not believed, or None.

    Only the topmost Authentication-Results header of each trusted server counts: our server puts its own on top, and
    whatever stands below may have come with the mail.
    """
    senders = [address for _, address in getaddresses([str(one) for one in message.get_all("From", [])])]
    if len(senders) != 1:
        return "the mail has not exactly one sender"
    domain = senders[0].rpartition("@")[2].lower()
    allowed = [one.lower() for one in domains]
    if not any(_within(domain, one) for one in allowed):
        return f"the sender's domain is not one of {', '.join(allowed)}"
    found = _results(message, {one.lower() for one in authserv_ids})
    if found is None:
        return "no trusted server has checked the sender"
    if any(_aligned(one, domain) for one in found):
        return None
    return "neither DKIM nor SPF passes for the sender's domain"


def _results(message: EmailMessage, trusted: set[str]) -> list[authres.AuthenticationResult] | None:
    for header in message.get_all("Authentication-Results", []):
        text = " ".join(str(header).split())
        try:
            parsed = authres.AuthenticationResultsHeader.parse(f"Authentication-Results: {text}")  # type: ignore[no-untyped-call,call-arg]
        except authres.AuthResError:
            continue
        if parsed.authserv_id and parsed.authserv_id.lower() in trusted:
            return list(parsed.results)
    return None


def _aligned(result: authres.AuthenticationResult, domain: str) -> bool:
    if result.result != "pass":
        return False
    if result.method == "dkim":
        signer = str(getattr(result, "header_d", None) or "")
        signer = signer or str(getattr(result, "header_i", None) or "").rpartition("@")[2]
        return _within(domain, signer.lower())
    if result.method == "spf":
        envelope = str(getattr(result, "smtp_mailfrom", None) or "").rpartition("@")[2].lower()
        return bool(envelope) and (_within(domain, envelope) or _within(envelope, domain))
    return False


def _within(domain: str, parent: str) -> bool:
    # A signature of a bare top-level domain vouches for nobody.
    return "." in parent and (domain == parent or domain.endswith(f".{parent}"))

"""What a campaign and an execution may be made from; an instance that exists is valid."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

import msgspec

from demarc.kernel.errors import Invalid, invalid
from demarc.modules.customers.inputs import clean_tags
from demarc.modules.customers.states import CustomerTier
from demarc.modules.dunning.states import ActionType
from demarc.modules.notifications.inputs import clean_template_name

NAME_LENGTH = 100
DESCRIPTION_LENGTH = 2000
TRIGGER_DAYS = range(3651)
RETRIES = range(11)
RETRY_INTERVAL_DAYS = range(1, 31)
PRIORITIES = range(101)
DELAY_DAYS = range(3651)
ACTIONS_MAX = 50
URL_LENGTH = 2000
REF_LENGTH = 50
DATA_BYTES = 16_384
_NUL = "\0"
_NUL_IN_JSON = b"\\u0000"
BIGGEST_MINOR = 2**53 - 1  # what every JSON reader keeps exact
MESSAGES = frozenset({ActionType.EMAIL, ActionType.SMS})


def _within(name: str, value: int, allowed: range) -> None:
    if value not in allowed:
        raise invalid(name, f"has to be {allowed.start} to {allowed.stop - 1}")


def _clean_url(url: str) -> None:
    """Http or https, a host, no credentials: they would be stored and shown."""
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        raise invalid("url", "is not a URL") from None
    if parts.scheme not in ("http", "https") or not parts.hostname or len(url) > URL_LENGTH:
        raise invalid("url", f"has to be an http or https URL of at most {URL_LENGTH} characters")
    if parts.username is not None or parts.password is not None:
        raise invalid("url", "must not hold credentials")


def _clean_data(data: dict[str, Any]) -> None:
    encoded = msgspec.json.encode(data)
    if len(encoded) > DATA_BYTES or _NUL_IN_JSON in encoded:
        raise invalid("data", f"has to be at most {DATA_BYTES} bytes of JSON without NUL characters")


@dataclass(frozen=True, slots=True)
class Action:
    """One step of a campaign, `delay_days` after the step before it.

    E-mail and SMS name a `template`, a webhook its `url`; `data` goes out with a webhook and with the event of a
    custom action as it is.
    """

    type: ActionType
    delay_days: int = 0
    template: str | None = None
    url: str | None = None
    data: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _within("delay_days", self.delay_days, DELAY_DAYS)
        _clean_data(self.data)
        if self.type in MESSAGES:
            if self.template is None:
                raise invalid("template", f"an action of type {self.type.value} needs one")
            clean_template_name(self.template)
        if self.type is ActionType.WEBHOOK:
            if self.url is None:
                raise invalid("url", "an action of type webhook needs one")
            _clean_url(self.url)

    @property
    def host(self) -> str:
        """Where a webhook goes; empty without a url."""
        return urlsplit(self.url or "").hostname or ""


@dataclass(frozen=True, slots=True)
class ExclusionRules:
    """Who is left alone: one rule that holds is enough. Money in minor units of the tenant's currency."""

    min_lifetime_minor: int | None = None
    customer_tiers: tuple[CustomerTier, ...] = ()
    customer_tags: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.min_lifetime_minor is not None and not 1 <= self.min_lifetime_minor <= BIGGEST_MINOR:
            raise invalid(
                "exclusion_rules.min_lifetime_value",
                "has to be above zero; leave it out to exclude nobody by it",
            )
        try:
            object.__setattr__(self, "customer_tags", clean_tags(self.customer_tags))
        except Invalid as error:
            raise invalid("exclusion_rules.customer_tags", error.details[0].message) from None


@dataclass(frozen=True, slots=True)
class NewCampaign:
    """`priority` 0 to 100, higher first; `trigger_after_days` counts from the later of due date and issue."""

    name: str
    trigger_after_days: int
    actions: tuple[Action, ...]
    description: str = ""
    max_retries: int = 3
    retry_interval_days: int = 3
    priority: int = 0
    exclusion_rules: ExclusionRules = field(default_factory=ExclusionRules)
    is_active: bool = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", self.name.strip())
        if not 1 <= len(self.name) <= NAME_LENGTH or _NUL in self.name:
            raise invalid("name", f"has to be 1 to {NAME_LENGTH} characters without NUL")
        if len(self.description) > DESCRIPTION_LENGTH or _NUL in self.description:
            raise invalid("description", f"has to be at most {DESCRIPTION_LENGTH} characters without NUL")
        _within("trigger_after_days", self.trigger_after_days, TRIGGER_DAYS)
        _within("max_retries", self.max_retries, RETRIES)
        _within("retry_interval_days", self.retry_interval_days, RETRY_INTERVAL_DAYS)
        _within("priority", self.priority, PRIORITIES)
        if not 1 <= len(self.actions) <= ACTIONS_MAX:
            raise invalid("actions", f"a campaign has 1 to {ACTIONS_MAX} of them")

    def columns(self) -> dict[str, Any]:
        """As the campaign's row keeps them; actions and rules are JSON."""
        return asdict(self) | {"actions": [asdict(action) for action in self.actions]}


@dataclass(frozen=True, slots=True)
class NewExecution:
    """What document 002 sends; `outstanding_minor` is kept as an echo, the ledger decides."""

    campaign_uid: UUID
    subscription_ref: str
    customer_uid: UUID
    invoice_ref: str
    outstanding_minor: int

    def __post_init__(self) -> None:
        if not 1 <= self.outstanding_minor <= BIGGEST_MINOR:
            raise invalid("outstanding_amount", "has to be a positive number of minor units (cents)")
        for name, ref in (("subscription_id", self.subscription_ref), ("invoice_id", self.invoice_ref)):
            if not 1 <= len(ref) <= REF_LENGTH:
                raise invalid(name, f"has to be 1 to {REF_LENGTH} characters")

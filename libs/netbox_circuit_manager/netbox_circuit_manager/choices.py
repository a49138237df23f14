"""The words that the plugin's models may say."""

from django.utils.translation import gettext_lazy as _
from utilities.choices import ChoiceSet


class TicketStatusChoices(ChoiceSet):
    key = "CircuitTicket.status"

    OPEN = "open"
    IN_PROGRESS = "in_progress"
    PENDING = "pending"
    RESOLVED = "resolved"
    CLOSED = "closed"

    CHOICES = [
        (OPEN, _("Open"), "red"),
        (IN_PROGRESS, _("In progress"), "orange"),
        (PENDING, _("Pending"), "yellow"),
        (RESOLVED, _("Resolved"), "green"),
        (CLOSED, _("Closed"), "gray"),
    ]


# A ticket that is over; every other status counts as open.
FINISHED_TICKETS = (TicketStatusChoices.RESOLVED, TicketStatusChoices.CLOSED)


class TicketPriorityChoices(ChoiceSet):
    key = "CircuitTicket.priority"

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"
    CRITICAL = "critical"

    CHOICES = [
        (LOW, _("Low"), "gray"),
        (MEDIUM, _("Medium"), "blue"),
        (HIGH, _("High"), "orange"),
        (CRITICAL, _("Critical"), "red"),
    ]


class SyncStatusChoices(ChoiceSet):
    """How a run of a sync ended, and so how a config stands."""

    RUNNING = "running"
    SUCCESS = "success"
    PARTIAL = "partial"  # some circuits were synced, some were not; the report names them
    FAILED = "failed"  # nothing was written
    HELD = "held"  # the carrier's answer looks wrong (empty, much shorter); a person decides

    CHOICES = [
        (RUNNING, _("Running"), "blue"),
        (SUCCESS, _("Success"), "green"),
        (PARTIAL, _("Partial"), "orange"),
        (FAILED, _("Failed"), "red"),
        (HELD, _("Held"), "purple"),
    ]


class SyncModeChoices(ChoiceSet):
    FULL = "full"
    DELTA = "delta"

    CHOICES = [
        (FULL, _("Full"), "blue"),
        (DELTA, _("Delta"), "cyan"),
    ]


class VanishedCircuitChoices(ChoiceSet):
    """What happens to a circuit which a full, complete answer of the carrier no longer names."""

    KEEP = "keep"
    FLAG = "flag"
    DECOMMISSION = "decommission"

    CHOICES = [
        (KEEP, _("Keep as it is")),
        (FLAG, _("Flag with the tag “carrier-vanished”")),
        (DECOMMISSION, _("Set the status to decommissioned")),
    ]


class VanishedTicketChoices(ChoiceSet):
    KEEP = "keep"
    CLOSE = "close"

    CHOICES = [
        (KEEP, _("Keep as it is")),
        (CLOSE, _("Close")),
    ]


class ChargeKindChoices(ChoiceSet):
    key = "CarrierCharge.kind"

    RECURRING = "recurring"
    NON_RECURRING = "non_recurring"
    USAGE = "usage"
    CREDIT = "credit"

    CHOICES = [
        (RECURRING, _("Recurring"), "blue"),
        (NON_RECURRING, _("Non-recurring"), "cyan"),
        (USAGE, _("Usage"), "purple"),
        (CREDIT, _("Credit"), "green"),
    ]


class DisputeStatusChoices(ChoiceSet):
    key = "CarrierCharge.dispute_status"

    NONE = "none"
    OPEN = "open"
    ACCEPTED = "accepted"
    REJECTED = "rejected"

    CHOICES = [
        (NONE, _("None"), "gray"),
        (OPEN, _("Open"), "orange"),
        (ACCEPTED, _("Accepted"), "green"),
        (REJECTED, _("Rejected"), "red"),
    ]

"""Choices as GraphQL enums."""

import strawberry

from .. import choices

__all__ = (
    "ChargeKindEnum",
    "DisputeStatusEnum",
    "SyncModeEnum",
    "SyncStatusEnum",
    "TicketPriorityEnum",
    "TicketStatusEnum",
)

TicketStatusEnum = strawberry.enum(choices.TicketStatusChoices.as_enum())
TicketPriorityEnum = strawberry.enum(choices.TicketPriorityChoices.as_enum())
ChargeKindEnum = strawberry.enum(choices.ChargeKindChoices.as_enum())
DisputeStatusEnum = strawberry.enum(choices.DisputeStatusChoices.as_enum())
SyncStatusEnum = strawberry.enum(choices.SyncStatusChoices.as_enum())
SyncModeEnum = strawberry.enum(choices.SyncModeChoices.as_enum())

"""What can go wrong with usage."""

from __future__ import annotations

from demarc.kernel.errors import Conflict


def other_content(source_system: str, source_record_id: str) -> Conflict:
    """The same source record was sent before, saying something else."""
    return Conflict(
        f"source record {source_record_id} of {source_system} was recorded before with other values; "
        "a correction needs a source_record_id of its own",
        code="SOURCE_RECORD_DIFFERS",
    )


def already_billed(invoice_ref: str) -> Conflict:
    return Conflict(
        f"the usage record is billed already, on invoice {invoice_ref}; allowed from here: void that invoice first",
        code="ALREADY_BILLED",
    )

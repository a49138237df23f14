"""Circuits that the carrier ended or no longer lists: kept, flagged or decommissioned, as the configuration says."""

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

from circuits.choices import CircuitStatusChoices
from circuits.models import Circuit
from django.utils import timezone
from extras.models import Tag

from ..choices import VanishedCircuitChoices
from ..models import CarrierCircuit
from .changes import Change, Edit, update
from .matching import Matcher, candidates
from .report import Report
from .writer import Writer

if TYPE_CHECKING:
    from ..models import ProviderAPIConfig
    from .circuits import Found

TAG_NAME = "carrier-vanished"
NOT_LISTED = "the carrier no longer lists it"
ENDED = "the carrier says that it is disconnected"


def handle_vanished(
    writer: Writer,
    report: Report,
    config: "ProviderAPIConfig",
    listed: Collection[str],
    batch: int,
    *,
    certain: bool,
) -> None:
    """Applies the policy to circuits that earlier runs saw and that a list does not name.

    Unless the list is certain to be whole, because the carrier announced its length, a circuit has to be missing from
    two full lists in a row.
    """
    gone, missing = _split(config, listed, certain=certain)
    for name in missing:
        report.refused(
            name,
            "missing",
            "not in the carrier's list; if the next full list lacks it too, it counts as gone",
        )
    for first in range(0, len(gone), batch):
        with writer.context.transaction():
            mappings = list(CarrierCircuit.objects.filter(pk__in=gone[first : first + batch]))
            CarrierCircuit.objects.filter(pk__in=[each.pk for each in mappings]).update(
                vanished_at=timezone.now()
            )
            apply_policy(writer, report, config, [each.circuit_id for each in mappings], NOT_LISTED)
            report.counts["vanished"] += len(mappings)
        report.flush()


def _split(
    config: "ProviderAPIConfig", listed: Collection[str], *, certain: bool
) -> tuple[list[int], list[str]]:
    """The mappings that are gone, and the names of circuits that are missing for the first time."""
    gone, missing = [], []
    # A circuit that was moved to another provider or account is no longer this configuration's to end.
    known = CarrierCircuit.objects.filter(
        config=config, vanished_at__isnull=True, circuit__in=candidates(config)
    )
    for pk, carrier_id, seen_at, cid in known.values_list("pk", "carrier_id", "last_seen_at", "circuit__cid"):
        if carrier_id in listed:
            continue
        if certain or (config.last_full_sync is not None and seen_at < config.last_full_sync):
            gone.append(pk)
        else:
            missing.append(cid)
    return gone, missing


def apply_policy(
    writer: Writer, report: Report, config: "ProviderAPIConfig", circuit_ids: Sequence[int], why: str
) -> None:
    """Keeps, flags or decommissions circuits, in the transaction that the caller opened; says so in the report."""
    circuits = list(Circuit.objects.filter(pk__in=circuit_ids).prefetch_related("tags"))
    policy = config.vanished_circuits
    if policy == VanishedCircuitChoices.DECOMMISSION:
        _decommission(writer, report, circuits)
    elif policy == VanishedCircuitChoices.FLAG:
        _flag(report, circuits)
    if why == NOT_LISTED:
        for circuit in circuits:
            report.refused(
                circuit.cid, "vanished", f"{why}; policy: {config.get_vanished_circuits_display()}", circuit
            )


def tell_reappeared(report: Report, found: "Sequence[Found]", matcher: Matcher) -> None:
    """Names circuits that the carrier lists again, but that were decommissioned here: putting them back is for a person."""
    for each in found:
        mapping = matcher.mappings.get(each.record.carrier_id)
        gone = each.circuit.status == CircuitStatusChoices.STATUS_DECOMMISSIONED
        if mapping is not None and mapping.vanished_at and gone and each.record.state != "ended":
            report.refused(
                each.circuit.cid,
                "reappeared",
                f"the carrier lists it again; its status here stays {each.circuit.get_status_display()}",
                each.circuit,
            )


def unflag(report: Report, circuit_ids: Sequence[int]) -> None:
    """Takes the flag from circuits that the carrier lists again."""
    flagged = Circuit.objects.filter(pk__in=circuit_ids, tags__name=TAG_NAME)
    for circuit in flagged:
        circuit.snapshot()
        circuit.tags.remove(TAG_NAME)
        report.noted(_tag_change(circuit, TAG_NAME, None))
        report.counts["updated"] += 1


def _decommission(writer: Writer, report: Report, circuits: Sequence[Circuit]) -> None:
    edits = [
        update(circuit, circuit, status=CircuitStatusChoices.STATUS_DECOMMISSIONED) for circuit in circuits
    ]

    def refuse(edit: Edit, reason: str) -> None:
        report.refused(edit.circuit.cid, "invalid", f"status: {reason}", edit.circuit)

    report.changed(writer.write([edit for edit in edits if edit is not None], refuse))


def _flag(report: Report, circuits: Sequence[Circuit]) -> None:
    unflagged = [circuit for circuit in circuits if TAG_NAME not in {tag.name for tag in circuit.tags.all()}]
    if not unflagged:
        return
    tag, _created = Tag.objects.get_or_create(slug=TAG_NAME, defaults={"name": TAG_NAME, "color": "ff9800"})
    for circuit in unflagged:
        # Through NetBox's own tagging, which logs the change; a flag is rare.
        circuit = Circuit.objects.get(pk=circuit.pk)  # noqa: PLW2901 - without the prefetched tags
        circuit.snapshot()
        circuit.tags.add(tag)
        report.noted(_tag_change(circuit, None, TAG_NAME))
        report.counts["updated"] += 1


def _tag_change(circuit: Circuit, before: str | None, after: str | None) -> Change:
    return Change(
        circuit_id=circuit.pk,
        model="circuit",
        object_repr=str(circuit),
        field="tags",
        before=before,
        after=after,
    )

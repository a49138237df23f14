"""Writes many objects at once, and everything NetBox does around a save with them.

`bulk_create` and `bulk_update` send no signals; change log, event rules, search and subscribers' notifications hang on
them. So each is done here for the whole batch, with NetBox's own functions, in a number of queries that does not
depend on the batch's size.
"""

import uuid
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from core.choices import ObjectChangeActionChoices
from core.events import OBJECT_CREATED, OBJECT_UPDATED
from core.models import ObjectChange, ObjectType
from django.core.exceptions import ValidationError
from django.db import DEFAULT_DB_ALIAS, DatabaseError, models, transaction
from django.utils import timezone
from extras.events import enqueue_event
from extras.models import CustomField, Subscription, Tag, TaggedItem
from extras.signals import notify_object_changed
from netbox.context import events_queue
from netbox.context_managers import event_tracking
from netbox.search.backends import search_backend
from utilities.request import NetBoxFakeRequest

from ..models import CircuitContract, CircuitCost, CircuitCostHistory
from .changes import Edit

Refuse = Callable[[Edit, str], None]


class DryRun(Exception):
    """Rolls a transaction back and drops its events."""


class ChangeContext:
    """Who changes, and under which request id the change log groups the run."""

    def __init__(self, user: Any, *, dry_run: bool = False) -> None:
        self.user = user
        self.dry_run = dry_run
        # Which circuit each of the carrier's ids is: what a dry run cannot read again, since it is rolled back.
        self.identified: dict[str, int] = {}
        self.request_id = uuid.uuid4()
        self.request = NetBoxFakeRequest(
            {
                "META": {},
                "COOKIES": {},
                "POST": {},
                "GET": {},
                "FILES": {},
                "user": user,
                "method": "POST",
                "path": "",
                "path_info": "",
                "id": self.request_id,
            }
        )

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """One transaction whose events go out after it; in a dry run it is rolled back and they do not."""
        with suppress(DryRun), event_tracking(self.request), transaction.atomic():
            yield
            if self.dry_run:
                raise DryRun


class Writer:
    """Writes the edits of one transaction."""

    def __init__(self, context: ChangeContext) -> None:
        self.context = context

    def write(self, edits: Sequence[Edit], refuse: Refuse) -> list[Edit]:
        """Writes what is valid and returns it; the rest goes to `refuse` with the reason.

        All at once; when the database refuses one of them, one by one.
        """
        _attach_tags(edits)
        for edit in edits:
            edit.apply()
        valid = [edit for edit in edits if self._validate(edit, refuse)]
        if not valid:
            return []
        try:
            with transaction.atomic():
                self._write_together(valid)
        except DatabaseError:
            return [edit for edit in valid if self._write_alone(_renewed(edit), refuse)]
        return valid

    def _write_alone(self, edit: Edit, refuse: Refuse) -> bool:
        try:
            with transaction.atomic():
                self._write_together([edit])
        except DatabaseError as error:
            refuse(_renewed(edit), f"the database refused it: {_first_line(error)}")
            return False
        return True

    def _validate(self, edit: Edit, refuse: Refuse) -> bool:
        """The model's own checks (with custom validators); keys and uniqueness are left to the database."""
        instance = edit.instance
        if edit.created:
            _apply_custom_field_defaults(instance)
        try:
            instance.clean_fields(exclude=_unchecked(edit))
            instance.clean()
        except ValidationError as error:
            refuse(edit, "; ".join(error.messages))
            return False
        return True

    def _write_together(self, edits: Sequence[Edit]) -> None:
        now = timezone.now()
        groups: dict[tuple[type[models.Model], bool], list[Edit]] = defaultdict(list)
        for edit in edits:
            groups[edit.model, edit.created].append(edit)
        for (model, created), group in groups.items():
            _store(model, group, created=created, now=now)
        CircuitCostHistory.record(edit.instance for edit in edits if isinstance(edit.instance, CircuitCost))
        self._log(edits)
        self._announce(edits)
        _notify([edit.instance for edit in edits if not edit.created])

    def _log(self, edits: Sequence[Edit]) -> None:
        entries = [self._log_entry(edit) for edit in edits]
        ObjectChange.objects.bulk_create(entry for entry in entries if entry.has_changes)

    def _log_entry(self, edit: Edit) -> ObjectChange:
        action = (
            ObjectChangeActionChoices.ACTION_CREATE
            if edit.created
            else ObjectChangeActionChoices.ACTION_UPDATE
        )
        entry: ObjectChange = edit.instance.to_objectchange(action)
        entry.user = self.context.user
        entry.user_name = self.context.user.username
        entry.request_id = self.context.request_id
        return entry

    def _announce(self, edits: Sequence[Edit]) -> None:
        """Event rules and search, by the functions that NetBox's signal receivers call."""
        queue = events_queue.get()
        for edit in edits:
            enqueue_event(
                queue, edit.instance, self.context.request, OBJECT_CREATED if edit.created else OBJECT_UPDATED
            )
            search_backend.caching_handler(
                edit.model, edit.instance, created=edit.created, using=DEFAULT_DB_ALIAS
            )
        events_queue.set(queue)


def _store(model: type[models.Model], edits: Sequence[Edit], *, created: bool, now: Any) -> None:
    instances = [edit.instance for edit in edits]
    if model is CircuitContract:
        for contract in instances:
            contract.set_computed_dates(timezone.localdate(now))
    if created:
        model._default_manager.bulk_create(instances)  # noqa: SLF001 - Django's public name for it
        return
    names = {name for edit in edits for name in edit.values}
    if model is CircuitContract:
        names |= {"renewal_date", "notice_date"}
    for instance in instances:
        instance.last_updated = now
    model._default_manager.bulk_update(instances, fields=[*sorted(names), "last_updated"])  # noqa: SLF001


def _attach_tags(edits: Sequence[Edit]) -> None:
    """Gives every object its tags, which the change log lists: one query for each model, instead of one per object.

    The result is put where the object's own manager looks for tags that were fetched before.
    """
    by_model: dict[type, list[Any]] = defaultdict(list)
    for edit in edits:
        by_model[edit.model].append(edit.instance)
    for model, instances in by_model.items():
        names = _tags_of(model, [each.pk for each in instances if each.pk is not None])
        for instance in instances:
            tags = Tag.objects.none()
            tags._result_cache = names.get(instance.pk, [])  # noqa: SLF001
            instance._prefetched_objects_cache = {"tags": tags}  # noqa: SLF001


def _tags_of(model: type, keys: Sequence[int]) -> dict[int, list[Tag]]:
    tags: dict[int, list[Tag]] = defaultdict(list)
    if keys:
        kind = ObjectType.objects.get_for_model(model)
        tagged = TaggedItem.objects.filter(content_type_id=kind.pk, object_id__in=keys).select_related("tag")
        for item in tagged:
            tags[item.object_id].append(item.tag)
    return tags


def _notify(updated: Sequence[Any]) -> None:
    """Tells subscribers, as NetBox's receiver does, but looks for subscriptions once per model."""
    by_model: dict[type, list[Any]] = defaultdict(list)
    for instance in updated:
        by_model[type(instance)].append(instance)
    for model, instances in by_model.items():
        subscribed = set(
            Subscription.objects.filter(
                object_type=ObjectType.objects.get_for_model(model),
                object_id__in=[each.pk for each in instances],
            ).values_list("object_id", flat=True)
        )
        for instance in instances:
            if instance.pk in subscribed:
                notify_object_changed(sender=model, instance=instance, created=False)


def _apply_custom_field_defaults(instance: Any) -> None:
    for name, default in CustomField.objects.get_defaults_for_model(instance).items():
        instance.custom_field_data.setdefault(name, default)


def _unchecked(edit: Edit) -> list[str]:
    """Foreign keys (each check is a query), and for an update what is not touched."""
    fields = edit.instance._meta.concrete_fields
    return [
        each.name
        for each in fields
        if each.is_relation or each.primary_key or (not edit.created and each.name not in edit.values)
    ]


def _renewed(edit: Edit) -> Edit:
    """After a rollback a new object has no key again."""
    if edit.created:
        edit.instance.pk = None
        edit.instance._state.adding = True  # noqa: SLF001
    return edit


def _first_line(error: DatabaseError) -> str:
    return str(error).strip().partition("\n")[0]


__all__ = ["ChangeContext", "DryRun", "Writer"]

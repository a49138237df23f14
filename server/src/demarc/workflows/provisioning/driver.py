"""Runs the steps: at once in the caller's transaction as long as none works outside, else as a job.

The job finds out from the steps' rows what is still to be done, so it may die anywhere and run again. Each step is a
transaction of its own; work outside happens between two of them.
"""

from __future__ import annotations

import msgspec

from demarc.kernel.db import Tx
from demarc.kernel.errors import Conflict, DemarcError, Unavailable
from demarc.kernel.jobs import Work, defer, job
from demarc.kernel.logs import logger
from demarc.kernel.outbox import Event, projects
from demarc.modules.services.queries import (
    ProvisioningStep,
    Service,
    find_next_step,
    get_service_by_id,
    hold_service,
    list_steps,
)
from demarc.modules.services.service import (
    compensate_step,
    complete_provisioning,
    complete_step,
    fail_provisioning,
    finish_rollback,
    note_failed_attempt,
    restart_provisioning,
    start_step,
)
from demarc.modules.services.states import (
    PROVISIONING_STATES,
    SERVICE_STATES,
    ProvisioningStatus,
    ServiceStatus,
    StepStatus,
)
from demarc.workflows.provisioning.steps import STEPS, Detail

_LOG = logger(__name__)
_GIVEN_UP = (ProvisioningStatus.FAILED, ProvisioningStatus.ROLLED_BACK)


class ServiceJob(msgspec.Struct, frozen=True):
    """Which service a job works on."""

    service_id: int


@job("services.provision", ServiceJob)
async def provision(work: Work, order: ServiceJob) -> None:
    """Drive what is not done; undo what was done when a step fails for good.

    Raises:
        Unavailable: something outside does not answer; the queue runs the job again.
    """
    try:
        while await _advance(work, order.service_id):
            pass
    except DemarcError as error:
        if _may_pass(error) and not work.is_last_attempt:
            await _note_failure(work, order.service_id, error)
            raise Unavailable(error.message, code=error.code) from error
        await _give_up(work, order.service_id, error)
    await _clean_up(work, order.service_id)


@job("services.deprovision", ServiceJob)
async def deprovision(work: Work, order: ServiceJob) -> None:
    """Undo every step of a service that has ended, the last one first.

    A step that is under way is the provisioning job's own to clean up: only that job knows when it is over.
    """
    await _undo_all(work, order.service_id, in_flight=False)


@job("services.roll_back", ServiceJob)
async def roll_back(work: Work, order: ServiceJob) -> None:
    """Undo what a canceled provisioning had done. What is under way is left to the provisioning job, as in `deprovision`."""
    await _undo_all(work, order.service_id, in_flight=False)


async def cancel_provisioning(tx: Tx, service_id: int, *, reason: str) -> Service:
    """Stop bringing a service up, and undo what was done; of one that has failed, see again to its undoing.

    Raises:
        NotFound: no such service.
        Conflict: it is brought up, rolled back, or has ended.
    """
    service = await hold_service(tx, service_id)
    status = ProvisioningStatus(service.provisioning_status)
    if status is not ProvisioningStatus.FAILED:
        step = await find_next_step(tx, service_id)
        PROVISIONING_STATES.check(status, ProvisioningStatus.FAILED)
        check_not_ended(service)
        if step is None:
            raise Conflict(
                "every step is done; suspend or terminate the service", code="ILLEGAL_STATE_CHANGE"
            )
        service = await fail_provisioning(tx, service_id, step, reason)
    await defer(tx, roll_back, ServiceJob(service_id), dedupe_key=f"roll_back:{tx.tenant.id}:{service_id}")
    await _queue(tx, service_id)
    return service


async def retry_provisioning(tx: Tx, service_id: int) -> Service:
    """Bring a service up again from the first step, after all that was done is undone.

    Raises:
        NotFound: no such service.
        Conflict: it has not failed, or is not rolled back yet.
        DemarcError: a step without work outside refused again; nothing changed.
    """
    check_not_ended(await hold_service(tx, service_id))
    await restart_provisioning(tx, service_id)
    return await run_at_once(tx, service_id)


def check_not_ended(service: Service) -> None:
    """Raises `Conflict`: a service that ends is not brought up."""
    if service.status in (ServiceStatus.TERMINATING, ServiceStatus.TERMINATED):
        SERVICE_STATES.check(ServiceStatus(service.status), ServiceStatus.PROVISIONING)


@projects("service.terminated")
async def undo_after_the_end(tx: Tx, event: Event) -> None:
    """What a service took from the world outside is given back once its end is committed."""
    await defer(tx, deprovision, ServiceJob(event.entity_id))


async def run_at_once(tx: Tx, service_id: int) -> Service:
    """As far as it goes inside the caller's transaction; work outside is left to the job.

    Raises:
        DemarcError: a step refused; the caller's transaction makes nothing of it happen.
    """
    for step in await list_steps(tx, service_id):
        if STEPS[step.name].call is not None:
            await _queue(tx, service_id)
            return await get_service_by_id(tx, service_id)
        await _perform(tx, await hold_service(tx, service_id), step, {})
    return await complete_provisioning(tx, service_id)


async def _queue(tx: Tx, service_id: int) -> None:
    """Not twice: while the job waits or runs it will see for itself what is to be done."""
    key = f"provision:{tx.tenant.id}:{service_id}"
    await defer(tx, provision, ServiceJob(service_id), dedupe_key=key)


async def _advance(work: Work, service_id: int) -> bool:
    """One step further; False when there is nothing left to do."""
    async with work.begin() as tx:
        service, step = await _take(tx, service_id)
        if service is None:
            return False
        if step is None:
            await complete_provisioning(tx, service_id)
            return False
        await start_step(tx, step)
    call = STEPS[step.name].call
    outcome = {} if call is None else await call(work, service)
    async with work.begin() as tx:
        service, due = await _take(tx, service_id)
        # Otherwise the service has ended meanwhile, or another worker has done the step.
        if service is not None and due is not None and due.position == step.position:
            await _perform(tx, service, due, outcome)
    return True


async def _take(tx: Tx, service_id: int) -> tuple[Service | None, ProvisioningStep | None]:
    """The service, held, with its next step; no service when its provisioning is over."""
    service = await hold_service(tx, service_id)
    if service.provisioning_status != ProvisioningStatus.IN_PROGRESS:
        return None, None
    return service, await find_next_step(tx, service_id)


async def _perform(tx: Tx, service: Service, step: ProvisioningStep, outcome: Detail) -> None:
    kept = await STEPS[step.name].perform(tx, service, outcome)
    await complete_step(tx, step, {**outcome, **kept})


def _may_pass(error: DemarcError) -> bool:
    return isinstance(error, Unavailable) or error.code == "CONCURRENT_CHANGE"


async def _note_failure(work: Work, service_id: int, error: DemarcError) -> None:
    async with work.begin() as tx:
        service, step = await _take(tx, service_id)
        if service is not None and step is not None:
            await note_failed_attempt(tx, step, error.message)


async def _give_up(work: Work, service_id: int, error: DemarcError) -> None:
    _LOG.warning("provisioning failed for good", service_id=service_id, reason=error.message)
    async with work.begin() as tx:
        service, step = await _take(tx, service_id)
        if service is not None and step is not None:
            await fail_provisioning(tx, service_id, step, error.message)


async def _clean_up(work: Work, service_id: int) -> None:
    """After a failure, or when the service has ended under the job's hands."""
    async with work.begin() as tx:
        service = await get_service_by_id(tx, service_id)
    if service.provisioning_status in _GIVEN_UP:
        await _undo_all(work, service_id, in_flight=True)


async def _undo_all(work: Work, service_id: int, *, in_flight: bool) -> None:
    while await _undo_last(work, service_id, in_flight=in_flight):
        pass


async def _undo_last(work: Work, service_id: int, *, in_flight: bool) -> bool:
    """Undo the last step that has to be undone; False when none is left."""
    async with work.begin() as tx:
        service = await hold_service(tx, service_id)
        step = await _last_to_undo(tx, service, in_flight=in_flight)
        if step is None:
            if in_flight or await _last_to_undo(tx, service, in_flight=True) is None:
                await _close_rollback(tx, service)
            return False
    recall = STEPS[step.name].recall
    if recall is not None:
        await recall(work, service, step.detail)
    async with work.begin() as tx:
        service = await hold_service(tx, service_id)
        again = await _last_to_undo(tx, service, in_flight=in_flight)
        if again is not None and again.position == step.position:
            await _undo(tx, service, again)
    return True


async def _last_to_undo(tx: Tx, service: Service, *, in_flight: bool) -> ProvisioningStep | None:
    """Steps that are done, and those that may have left something outside without knowing its outcome.

    None too when the service was started over meanwhile: what it is made of then is not ours to undo.
    """
    if service.status != ServiceStatus.TERMINATED and service.provisioning_status not in _GIVEN_UP:
        return None
    return next(
        (
            step
            for step in reversed(await list_steps(tx, service.id))
            if step.status == StepStatus.COMPLETED or (in_flight and _may_have_reached_out(step))
        ),
        None,
    )


def _may_have_reached_out(step: ProvisioningStep) -> bool:
    unknown = step.status in (StepStatus.PENDING, StepStatus.FAILED)
    return unknown and step.attempts > 0 and STEPS[step.name].recall is not None


async def _undo(tx: Tx, service: Service, step: ProvisioningStep) -> None:
    if step.status == StepStatus.COMPLETED:
        await STEPS[step.name].undo(tx, service, step.detail)
    await compensate_step(tx, step)


async def _close_rollback(tx: Tx, service: Service) -> None:
    if service.provisioning_status == ProvisioningStatus.FAILED:
        await finish_rollback(tx, service.id)

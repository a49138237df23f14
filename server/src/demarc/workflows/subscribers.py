"""Somebody gets on line: the service is found or sold, the address allocated, the log-in projected, all or nothing."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from ipaddress import IPv4Address
from uuid import UUID

from demarc.kernel.crypto import MasterKey
from demarc.kernel.db import Tx
from demarc.kernel.errors import Conflict, Detail, NotFound, invalid, naming
from demarc.kernel.paging import LIMIT_MAX, Window
from demarc.modules.access.inputs import NewSubscriber, clean_username
from demarc.modules.access.queries import Subscriber, list_subscribers_of_services
from demarc.modules.access.service import change_pool, create_subscriber, give_address
from demarc.modules.access.states import SubscriberStatus
from demarc.modules.addressing.queries import Pool, find_default_pool, find_pool_by_name
from demarc.modules.addressing.states import PoolKind
from demarc.modules.customers.queries import Customer, hold_customer
from demarc.modules.services.inputs import NAME_LENGTH
from demarc.modules.services.queries import Service, get_service, hold_service, list_services
from demarc.modules.services.states import CARRYING, ServiceStatus
from demarc.workflows.provisioning import ServiceOrder, provision_service


@dataclass(frozen=True, slots=True)
class SubscriberOrder:
    """What is ordered, in the words of `/api`. `service_uid` or `service_type` says what the log-in is for.

    `allocate_ip` None: an address is allocated if a pool or an address is named.
    """

    customer_uid: UUID
    username: str
    password: str | None = field(default=None, repr=False)
    service_uid: UUID | None = None
    service_type: str | None = None
    status: SubscriberStatus = SubscriberStatus.ACTIVE
    download_bps: int | None = None
    upload_bps: int | None = None
    allocate_ip: bool | None = None
    ip_pool_name: str | None = None
    address: IPv4Address | None = None
    ipv6_pool_name: str | None = None
    prefix_pool_name: str | None = None
    mac: str | None = None
    circuit_id: str | None = None
    remote_id: str | None = None
    session_limit: int = 1
    clear_text_enabled: bool = False
    expires_at: datetime | None = None

    def __post_init__(self) -> None:
        clean_username(self.username)  # before a new service is named after it


@dataclass(frozen=True, slots=True)
class OrderedSubscriber:
    """`password` only when it was generated: it is shown once."""

    subscriber: Subscriber
    service: Service
    password: str | None = field(repr=False)


async def order_subscriber(tx: Tx, master_key: MasterKey, order: SubscriberOrder) -> OrderedSubscriber:
    """Let a customer log on.

    The log-in is for the service given; else for the newest active service of that type which has none yet, never a
    suspended one; else for a new one of the plan that the tenant's setting `default_plans` names for the type.

    Raises:
        NotFound: no such customer, service or pool; the detail names the field.
        Invalid: a value is not acceptable, or there is no service and no default plan to sell one of.
        Conflict: the user name is taken, the pool is exhausted, the service is suspended.
    """
    customer = await naming("customer_id", hold_customer(tx, order.customer_uid))
    pool = await _pool(tx, order)
    ipv6_pools = await _ipv6_pools(tx, order)
    service = await _service(tx, customer, order)
    made = await create_subscriber(
        tx,
        master_key,
        NewSubscriber(
            customer_id=customer.id,
            service_id=service.id,
            username=order.username,
            password=order.password,
            status=order.status,
            download_bps=order.download_bps,
            upload_bps=order.upload_bps,
            pool_id=None if pool is None else pool.id,
            address=order.address,
            mac=order.mac,
            circuit_id=order.circuit_id,
            remote_id=order.remote_id,
            session_limit=order.session_limit,
            clear_text_enabled=order.clear_text_enabled,
            expires_at=order.expires_at,
        ),
    )
    for ipv6_pool in ipv6_pools:
        await give_address(tx, subscriber_id=made.subscriber.id, pool=ipv6_pool)
    return OrderedSubscriber(made.subscriber, service, made.password)


async def move_to_pool(
    tx: Tx, *, subscriber_id: int, allocate_ip: bool, ip_pool_name: str | None
) -> Subscriber:
    """Give a subscriber a fixed address of the named or default pool, or take it away.

    Raises:
        NotFound: no such pool.
        Conflict: the pool is exhausted, or there is no default pool.
    """
    pool = await _named_or_default(tx, ip_pool_name) if allocate_ip else None
    return await change_pool(tx, subscriber_id=subscriber_id, pool_id=None if pool is None else pool.id)


async def _pool(tx: Tx, order: SubscriberOrder) -> Pool | None:
    is_named = order.ip_pool_name is not None or order.address is not None
    if order.allocate_ip is False and is_named:
        raise invalid("allocate_ip", "is false, but a pool or an address is named; leave out one of them")
    if not order.allocate_ip and not is_named:
        return None
    return await _named_or_default(tx, order.ip_pool_name)


async def _ipv6_pools(tx: Tx, order: SubscriberOrder) -> list[Pool]:
    asked = (
        ("ipv6_pool_name", order.ipv6_pool_name, PoolKind.IPV6),
        ("prefix_pool_name", order.prefix_pool_name, PoolKind.DELEGATED_PREFIX),
    )
    return [await _named_pool(tx, name, field, kind) for field, name, kind in asked if name is not None]


async def _named_pool(tx: Tx, name: str, field_name: str, kind: PoolKind) -> Pool:
    pool = await find_pool_by_name(tx, name)
    if pool is None:
        message = f"no address pool is named {name}"
        raise NotFound(message, details=(Detail(field_name, message),))
    if pool.kind != kind:
        raise invalid(field_name, f"the pool {name} is of the kind {pool.kind}, not {kind.value}")
    return pool


async def _named_or_default(tx: Tx, name: str | None) -> Pool:
    if name is not None:
        return await _named_pool(tx, name, "ip_pool_name", PoolKind.IPV4)
    default = await find_default_pool(tx)
    if default is None:
        raise Conflict(
            "there is no default address pool; name one in ip_pool_name, or make one the default",
            code="NO_DEFAULT_POOL",
        )
    return default


async def _service(tx: Tx, customer: Customer, order: SubscriberOrder) -> Service:
    if order.service_uid is not None:
        return await _given_service(tx, customer, order.service_uid, order.service_type)
    if order.service_type is None:
        raise invalid("service_type", "say what the log-in is for: service_id or service_type")
    free = await _free_service(tx, customer, order.service_type)
    return free or await _new_service(tx, customer, order, order.service_type)


async def _given_service(tx: Tx, customer: Customer, service_uid: UUID, service_type: str | None) -> Service:
    service = await naming("service_id", get_service(tx, service_uid))
    if service.customer_id != customer.id:
        raise invalid("service_id", "the service belongs to another customer")
    if service_type is not None and service_type != service.service_type:
        raise invalid("service_type", f"the service is of the type {service.service_type}")
    return service


async def _free_service(tx: Tx, customer: Customer, service_type: str) -> Service | None:
    """The newest one on line that nobody logs on for; held, so that two orders do not find the same."""
    page = await list_services(
        tx,
        Window(limit=LIMIT_MAX),
        sort="-created_at",
        customer_id=customer.id,
        service_type=service_type,
    )
    for candidate in page.rows:
        if not _is_usable(candidate):
            continue
        service = await hold_service(tx, candidate.id)
        if _is_usable(service) and not await list_subscribers_of_services(tx, [service.id]):
            return service
    return None


def _is_usable(service: Service) -> bool:
    return ServiceStatus(service.status) in CARRYING


async def _new_service(tx: Tx, customer: Customer, order: SubscriberOrder, service_type: str) -> Service:
    default_plans = tx.tenant.settings.get("default_plans")
    plan_ref = default_plans.get(service_type) if isinstance(default_plans, dict) else None
    if not isinstance(plan_ref, str):
        raise invalid(
            "service_id",
            f"the customer has no active {service_type} service without a subscriber; provision one first "
            "(POST /api/services/lifecycle/provision), or set a default plan for this type",
            code="NO_SERVICE",
        )
    provisioned = await provision_service(
        tx,
        ServiceOrder(
            customer_uid=customer.uid,
            plan_ref=plan_ref,
            service_type=service_type,
            name=f"{service_type} for {order.username}"[:NAME_LENGTH],
            auto_activate=True,
        ),
    )
    return provisioned.service

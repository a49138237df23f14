"""A data cap in the words of `/api`: of a plan, and of one service."""

from __future__ import annotations

from decimal import Decimal

from demarc.kernel.db import Tx
from demarc.kernel.errors import Detail, NotFound, invalid
from demarc.modules.catalog.inputs import NewDataCap, bits_per_second, gb_to_octets
from demarc.modules.catalog.queries import find_profile_by_name
from demarc.web.bss.plans.schemas import DataPolicyIn

_POLICY = "data_limit_policy"


async def data_cap_of(tx: Tx, limit_gb: Decimal | None, policy: DataPolicyIn | None) -> NewDataCap | None:
    """What a body asks for; None: no cap.

    Raises:
        NotFound: no bandwidth profile has that name.
        Invalid: a value is not acceptable.
    """
    if limit_gb is None:
        return None
    octets = gb_to_octets(limit_gb, field="data_limit_gb")
    policy = policy or DataPolicyIn()
    down, up = await _speeds(tx, policy)
    return NewDataCap(octets, policy.action, down, up)


async def _speeds(tx: Tx, policy: DataPolicyIn) -> tuple[int | None, int | None]:
    if policy.profile is None:
        return _bits(policy.download_mbps, "download_mbps"), _bits(policy.upload_mbps, "upload_mbps")
    if (policy.download_mbps, policy.upload_mbps) != (None, None):
        raise invalid(f"{_POLICY}.profile", "has its own speeds; leave out download_mbps and upload_mbps")
    profile = await find_profile_by_name(tx, policy.profile)
    if profile is None:
        message = f"no bandwidth profile is named {policy.profile}"
        raise NotFound(message, details=(Detail(f"{_POLICY}.profile", message),))
    return profile.download_bps, profile.upload_bps


def _bits(mbps: float | None, name: str) -> int | None:
    return None if mbps is None else bits_per_second(mbps, field=f"{_POLICY}.{name}")

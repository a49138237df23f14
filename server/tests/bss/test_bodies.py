"""Bodies are bounded, whether they say how large they are or not."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from demarc.web.bodies import LARGEST_BODY

from ..conftest import Caller  # noqa: TID252 - the suite's own


async def chunks(total: int) -> AsyncIterator[bytes]:
    for _ in range(total // 65_536 + 1):
        yield b" " * 65_536


@pytest.mark.parametrize("declared", [True, False], ids=["declared", "chunked"])
async def test_a_body_beyond_the_bound_is_refused(admin: Caller, declared: bool) -> None:
    content = b" " * (LARGEST_BODY + 1) if declared else chunks(LARGEST_BODY)
    answer = await admin.client.post(
        "/api/customers", content=content, headers={"Content-Type": "application/json"}
    )
    assert answer.status_code == 413
    assert answer.json()["error"]["code"] == "BODY_TOO_LARGE"


async def test_the_log_in_reads_no_endless_body(admin: Caller) -> None:
    answer = await admin.client.post(
        "/api/auth/token", content=chunks(LARGEST_BODY), headers={"Content-Type": "application/json"}
    )
    assert answer.status_code in {400, 413}


async def test_a_large_body_within_the_bound_is_read(admin: Caller) -> None:
    padded = b'{"email": "large@example.com", "name": "Large"' + b" " * 1_000_000 + b"}"
    answer = await admin.client.post(
        "/api/customers", content=padded, headers={"Content-Type": "application/json"}
    )
    assert answer.status_code == 201

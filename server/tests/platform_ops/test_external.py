"""`DATABASE_URL`: what is wrong with it is said before anything is written."""

import asyncpg
import pytest

from demarc.adapters.postgres.cluster import DATABASE, OWNER_ROLE, PrivateCluster
from demarc.adapters.postgres.external import check_server
from demarc.kernel.errors import Misconfigured, Unavailable

ROLES = ("demarc_app", "demarc_aaa")


@pytest.fixture
async def running(cluster: PrivateCluster) -> PrivateCluster:
    await cluster.start()
    return cluster


async def run(cluster: PrivateCluster, *statements: str) -> None:
    connection = await asyncpg.connect(cluster.owner_dsn)
    try:
        for statement in statements:
            await connection.execute(statement)
    finally:
        await connection.close()


async def test_a_good_server_tells_what_it_is(running: PrivateCluster):
    facts = await check_server(running.owner_dsn, ROLES)
    assert (facts.version, facts.role, facts.database) == (18, OWNER_ROLE, DATABASE)
    assert facts.superuser
    assert facts.missing_roles == ROLES


async def test_an_owner_who_may_not_create_roles_gets_the_command(running: PrivateCluster):
    await run(running, "create role plain login password 'plain'", "grant create on database demarc to plain")
    url = running.dsn("plain", password="plain")
    with pytest.raises(Misconfigured, match="ALTER ROLE plain CREATEROLE"):
        await check_server(url, ROLES)
    await run(running, "create role demarc_app", "create role demarc_aaa", "alter role plain createrole")
    facts = await check_server(url, ROLES)
    assert facts.missing_roles == ()
    assert not facts.superuser


async def test_an_owner_who_may_not_create_schemas_gets_the_command(running: PrivateCluster):
    await run(running, "create role plain login createrole password 'plain'")
    with pytest.raises(Misconfigured, match="GRANT CREATE ON DATABASE demarc TO plain"):
        await check_server(running.dsn("plain", password="plain"), ROLES)


async def test_a_wrong_password_is_named_but_not_shown(running: PrivateCluster):
    with pytest.raises(Misconfigured, match="refuses this user or password") as caught:
        await check_server(running.dsn(OWNER_ROLE, password="hunter2"), ROLES)
    assert "hunter2" not in str(caught.value)


async def test_a_database_that_is_not_there_is_named(running: PrivateCluster):
    with pytest.raises(Misconfigured, match="no such database"):
        await check_server(running.dsn(OWNER_ROLE, "elsewhere"), ROLES)


async def test_nobody_at_the_address(free_port: int):
    with pytest.raises(Unavailable, match="does not take connections"):
        await check_server(f"postgresql://a:secret@127.0.0.1:{free_port}/demarc", ROLES)


@pytest.mark.parametrize("url", ["mysql://a:b@localhost/demarc", "postgresql://a:b@127.0.0.1:port/demarc"])
async def test_an_address_that_cannot_be_read(url: str):
    with pytest.raises(Misconfigured, match="DATABASE_URL"):
        await check_server(url, ROLES)


async def test_a_server_that_is_too_old_is_named(running: PrivateCluster, monkeypatch: pytest.MonkeyPatch):
    from demarc.adapters.postgres import external

    monkeypatch.setattr(external, "LEAST_VERSION", 99)
    with pytest.raises(Misconfigured, match="PostgreSQL 18 is too old, at least 99"):
        await check_server(running.owner_dsn, ROLES)

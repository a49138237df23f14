"""The start page and `/readyz`: what runs here, in every state it may be in."""

from __future__ import annotations

import asyncio
import html
import re
import shutil
import socket
from dataclasses import dataclass

import httpx
import pytest
import uvicorn

from demarc.bootstrap import build_app
from demarc.kernel.db import Database
from demarc.web.platform import SandboxLogin

LOGIN = SandboxLogin("alpha", "Alpha <Fibre>", "admin@alpha.example.com", "right horse")


@dataclass(frozen=True)
class Process:
    state: str
    restarts: int = 0


ALL_READY = {
    name: Process("ready") for name in ("postgres", "worker", "mail-trap", "ingester", "radius", "api")
}


@pytest.fixture
def visit(settings, database, master_key):
    """`await visit("/readyz", processes)`: one request to an application beside these processes."""

    async def ask(path, processes=ALL_READY, *, on: Database = database, logins=(LOGIN,)):
        app = build_app(settings, on, master_key, processes=lambda: processes, sandbox_logins=logins)
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://isp.test:8123") as client:
            return await client.get(path)

    return ask


async def test_ready_with_every_process_up(visit):
    answer = await visit("/readyz")
    assert answer.status_code == 200
    assert answer.json() == {
        "status": "ok",
        "checks": {"database": "ok", "worker": "ok", "mail-trap": "ok", "ingester": "ok", "radius": "ok"},
    }


async def test_ready_without_a_supervisor(visit):
    answer = await visit("/readyz", {})
    assert (answer.status_code, answer.json()["checks"]) == (200, {"database": "ok"})


@pytest.mark.parametrize("name", ["worker", "mail-trap", "ingester", "radius"])
@pytest.mark.parametrize("state", ["waiting", "starting"])
async def test_not_ready_before_each_process_has_come_up_once(visit, name, state):
    answer = await visit("/readyz", {**ALL_READY, name: Process(state)})
    assert answer.status_code == 503
    assert answer.json()["checks"][name] == state


@pytest.mark.parametrize(
    "process",
    [
        Process("backoff", 1),
        Process("starting", 2),
        Process("unready"),
        Process("stopped"),
        Process("ready", 5),
    ],
)
async def test_what_was_up_or_is_known_to_fail_does_not_keep_the_api_away(visit, process):
    assert (await visit("/readyz", {**ALL_READY, "radius": process})).status_code == 200


async def test_other_processes_are_not_waited_for(visit):
    assert (await visit("/readyz", {**ALL_READY, "api-2": Process("starting")})).status_code == 200


async def test_without_a_database_nothing_is_ready_and_the_page_says_so(visit, scratch):
    away = await Database.connect(scratch.dsn(), max_size=1)
    await away.close()
    answer = await visit("/readyz", on=away)
    assert answer.status_code == 503
    assert "does not answer" in answer.json()["checks"]["database"]
    page = await visit("/", on=away)
    assert page.status_code == 200
    assert "The database does not answer" in page.text


async def test_the_page_names_what_runs_and_what_does_not(visit):
    page = await visit("/")
    assert "Everything runs" in page.text
    for name in ("database", "api", "worker", "mail-trap", "ingester", "radius"):
        assert f"<strong>{name}</strong>" in page.text
    assert "127.0.0.1:1812" in page.text
    failing = await visit("/", {**ALL_READY, "radius": Process("backoff", 3)})
    assert "Running without radius" in failing.text
    coming = await visit("/", {**ALL_READY, "worker": Process("starting")})
    assert "Coming up" in coming.text


async def test_log_ins_are_shown_in_a_sandbox_only(visit):
    page = await visit("/")
    assert "admin@alpha.example.com" in page.text
    assert "Alpha &lt;Fibre&gt;" in page.text
    production = await visit("/", logins=())
    assert "admin@" not in production.text
    assert "demarc tour" not in production.text


async def test_a_hostile_host_header_stays_text(visit, settings, database, master_key):
    app = build_app(settings, database, master_key, sandbox_logins=(LOGIN,))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://x") as client:
        page = await client.get("/", headers={"Host": "a.example/'\"><script>alert(1)</script>"})
    assert "<script>alert" not in page.text


@pytest.mark.skipif(shutil.which("curl") is None, reason="the page's lines are for curl")
async def test_the_printed_lines_work_in_a_shell(settings, database, master_key):
    """What the page prints is pasted into bash, in its order, against a listening server."""
    app = build_app(settings, database, master_key, sandbox_logins=(LOGIN,))
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{listener.getsockname()[1]}"
        server = uvicorn.Server(uvicorn.Config(app, log_config=None, lifespan="off"))
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        try:
            async with httpx.AsyncClient(trust_env=False) as client:
                page = (await client.get(f"{address}/")).text
            tries = page[page.index('class="tries"') :]
            commands = [
                html.unescape(found)
                for found in re.findall(r"<pre><code>(.*?)</code></pre>", tries, re.DOTALL)
            ]
            assert len(commands) == 3
            shell = await asyncio.create_subprocess_exec(
                "bash", "-euo", "pipefail", stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
            )
            output, _ = await asyncio.wait_for(shell.communicate("\necho\n".join(commands).encode()), 60)
        finally:
            server.should_exit = True
            await serving
    assert shell.returncode == 0
    assert output.decode().count("ada@example.com") == 2

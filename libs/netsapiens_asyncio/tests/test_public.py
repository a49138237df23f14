"""The public face: its names, its types, what it needs."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import netsapiens_asyncio
from netsapiens_asyncio import testing

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
USER = """
from datetime import datetime
from typing import Any

from netsapiens_asyncio import CdrsAPI, Event, NetsapiensAPI, SubscriptionKeeper, UsersAPI, parse_events
from netsapiens_asyncio.auth import NetsapiensAPI as SameAPI
from netsapiens_asyncio.calls import CallsAPI
from netsapiens_asyncio.messages import MessageAPI
from netsapiens_asyncio.subscribe import VALID_MODELS, SubscriptionAPI
from netsapiens_asyncio.testing import FakePbx, serve


async def use(start: datetime, end: datetime) -> None:
    async with NetsapiensAPI({"base_url": "api.example.com", "api_key": "x"}) as client:
        token: dict[str, Any] = await client.get_token()
        messages = MessageAPI(client)
        sent: dict[str, Any] = await messages.send_message("sms", "Hi", ["12135550177"], "1987654321")
        read: list[dict[str, Any]] = await messages.get_messages(limit=5)
        one: dict[str, Any] | list[dict[str, Any]] = await SubscriptionAPI(token).read_subscription()
        calls = await CallsAPI(client).read_calls("~", count=True)
        async for cdr in CdrsAPI(client).iterate(start, end):
            talked: int = cdr["call-talking-duration-seconds"]
            caller: str | None = cdr["call-orig-caller-id"]
        async for user in UsersAPI(client).iterate():
            name: str = user["user"]
        models: tuple[str, ...] = VALID_MODELS
        events: list[Event] = parse_events(b"[]", "cdr")
    async with serve(FakePbx()) as url:
        print(url)
"""


def test_a_strict_type_checker_is_clean_from_a_users_side(tmp_path):
    (tmp_path / "user.py").write_text(USER)
    (tmp_path / "wrong.py").write_text(
        "from netsapiens_asyncio import NetsapiensAPI\nNetsapiensAPI(42)\n"
        "async def f(a: NetsapiensAPI) -> None:\n    x: int = await a.get_token()\n"
    )
    mypy = [
        sys.executable,
        "-m",
        "mypy",
        "--strict",
        "--config-file",
        "",
        "--cache-dir",
        str(tmp_path / "cache"),
    ]
    right = subprocess.run([*mypy, "user.py"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert right.returncode == 0, right.stdout
    wrong = subprocess.run([*mypy, "wrong.py"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert wrong.stdout.count("error:") == 2, wrong.stdout


def test_the_exported_names():
    for module in (netsapiens_asyncio, testing):
        assert len(module.__all__) == len(set(module.__all__))
        for name in module.__all__:
            assert getattr(module, name) is not None
    assert (Path(netsapiens_asyncio.__file__).parent / "py.typed").exists()


def test_the_version_is_told_once_everywhere():
    assert netsapiens_asyncio.__version__ == PROJECT["version"]
    assert f"## {PROJECT['version']}" in (ROOT / "CHANGELOG.md").read_text()


def test_it_needs_httpx_and_stamina_and_nothing_else():
    assert [re.split(r"[<>=]", each)[0] for each in PROJECT["dependencies"]] == ["httpx", "stamina"]
    allowed = sys.stdlib_module_names | {
        "httpx",
        "stamina",
        "h11",
        "netsapiens_asyncio",
    }  # h11 comes with httpx
    for file in (ROOT / "src").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert {name.partition(".")[0] for name in names} <= allowed, file

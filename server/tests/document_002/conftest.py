"""Every example of document 002, replayed twice against one fresh sandbox."""

from __future__ import annotations

import json
import shutil
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import asyncpg
import pytest
import pytest_asyncio
import requests

from demarc.bootstrap import Connections
from demarc.kernel.settings import Settings
from printed.fences import Example, read_examples
from printed.sessions import PythonSession, run_node, run_script, run_shell
from printed.tolerance import outside_containers, with_tokens, without_output

from ..whole.conftest import Platform, make_platform  # noqa: TID252 - the tests' own

DOCUMENT = Path(__file__).with_name("examples.txt")
EXAMPLES = read_examples(DOCUMENT)
_COUNTED = (
    "dunning_execution",
    "invoice",
    "invoice_line",
    "ip_assignment",
    "ledger_entry",
    "payment",
    "subscriber",
    "usage_record",
)
_HOLDINGS = {table: f"SELECT count(*) FROM {table}" for table in _COUNTED} | {
    "addresses in use": "SELECT count(*) FROM ip_address WHERE status = 'assigned'",
    "invoiced": "SELECT sum(total_minor) FROM invoice",
    "used": "SELECT sum(quantity * unit_price) FROM usage_record",
}


@dataclass(frozen=True)
class Answer:
    """How one example went: what it printed, what it raised, and the (method, route, status) of what it asked for."""

    printed: str
    error: BaseException | None
    requests: list[tuple[str, str, int]]


@dataclass
class Replay:
    """One run of the whole document, in its order."""

    platform: Platform
    directory: Path
    answers: dict[str, Answer] = field(default_factory=dict)
    python: PythonSession = field(default_factory=PythonSession)
    token: str = ""
    setup: str = ""

    def run(self) -> None:
        for example in EXAMPLES:
            seen = len(self._requests())
            printed, error = "", None
            try:
                printed = self._play(example)
            except (requests.HTTPError, KeyError, AssertionError) as raised:
                error = raised
            self.answers[example.name] = Answer(printed, error, self._requests()[seen:-1])

    def titled(self, title: str, language: str) -> Answer:
        (found,) = (one for one in EXAMPLES if one.title == title and one.language == language)
        return self.answers[found.name]

    def _play(self, example: Example) -> str:
        code = with_tokens(example.code, self._tokens())
        if example.language == "python":
            return self.python.run(example, code)
        if example.language == "javascript":
            return self._node(example, code)
        if example.title.endswith(".sh"):
            return run_script(code, self.directory, example.title)
        return self._shell(outside_containers(without_output(code)))

    def _tokens(self) -> dict[str, str]:
        return {
            "http://localhost:8000": self.platform.url,
            "localhost 0 testing123": f"127.0.0.1:{self.platform.auth_port} 0 testing123",
        }

    def _node(self, example: Example, code: str) -> str:
        """The set-up defines what the examples call: it stands in front of each."""
        if example.title == "Setup":
            self.setup = code
        return run_node(code if example.title == "Setup" else self.setup + code)

    def _shell(self, code: str) -> str:
        """One shell for the reader: the token of the first command is what the next ones export."""
        if not self.token:
            printed = run_shell([code])[0]
            self.token = json.loads(printed)["access_token"]
            return printed
        return run_shell([f"export TOKEN={self.token}", code])[1]

    def _requests(self) -> list[tuple[str, str, int]]:
        """What the platform has answered so far, as its log has it; the last line is this question's own.

        A line is written after its answer: one that is asked for here, and waited for, comes after all others.
        """
        mark = uuid.uuid4().hex
        requests.get(f"{self.platform.url}/mark", headers={"X-Request-ID": mark}, timeout=60)
        give_up = time.monotonic() + 60
        while time.monotonic() < give_up:
            lines = [
                json.loads(line) for line in self.platform.log.read_text().splitlines() if line[:1] == "{"
            ]
            asked = [line for line in lines if line.get("event") == "request"]
            if asked and asked[-1]["request_id"] == mark:
                return [(line["method"], line["route"], line["status"]) for line in asked]
            time.sleep(0.02)
        pytest.fail("the platform logged no line for a request")


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Platform]:
    """A fresh platform, used by nothing but the document."""
    made = make_platform()
    try:
        made.start()
        yield made
    finally:
        made.stop()
        shutil.rmtree(made.home, ignore_errors=True)


@pytest.fixture(scope="module")
def first(sandbox: Platform, tmp_path_factory: pytest.TempPathFactory) -> Replay:
    replay = Replay(sandbox, tmp_path_factory.mktemp("first"))
    replay.run()
    return replay


@dataclass(frozen=True)
class Again:
    """The second run, and what the database held before and after it."""

    replay: Replay
    before: dict[str, Any]
    after: dict[str, Any]


@pytest_asyncio.fixture(scope="module")
async def second(first: Replay, tmp_path_factory: pytest.TempPathFactory) -> Again:
    before = await holdings(first.platform)
    replay = Replay(first.platform, tmp_path_factory.mktemp("second"))
    replay.run()
    return Again(replay, before, await holdings(first.platform))


async def holdings(platform: Platform) -> dict[str, Any]:
    """All that may not double, as the database has it."""
    settings = Settings(data_dir=Path(platform.env["DEMARC_DATA_DIR"]), database_url=None)
    connection = await asyncpg.connect(Connections(settings).owner)
    try:
        return {name: await connection.fetchval(query) for name, query in _HOLDINGS.items()}
    finally:
        await connection.close()

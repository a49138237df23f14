"""schemathesis over the OpenAPI document: whatever is sent, the answer is a documented one and never a server error."""

from __future__ import annotations

import asyncio
import os
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
import requests
import schemathesis
import uvicorn
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from demarc.bootstrap import build_app
from demarc.kernel.crypto import MasterKey
from demarc.kernel.db import Database
from demarc.kernel.settings import Settings

from .surface import Surface

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
EXAMPLES = int(os.environ.get("DEMARC_TEST_EXAMPLES", "4"))
"""Requests of each kind for each operation: fitting ones, and ones that break the schema."""

DOCUMENT = build_app(Settings(), None, MasterKey(b"0" * 32)).openapi()
OPERATIONS = Surface(DOCUMENT).operations
SCHEMA = schemathesis.openapi.from_dict(DOCUMENT)


_PATIENCE_S = 60
_IDENTITY = frozenset({"authorization", "x-tenant-id"})


class Served(threading.Thread):
    """An application on a port, with a loop of its own: schemathesis speaks HTTP."""

    def __init__(self, dsn: str, settings: Settings, master_key: MasterKey) -> None:
        super().__init__(daemon=True)
        self._dsn, self._settings, self._master_key = dsn, settings, master_key
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        self.server: uvicorn.Server | None = None

    def run(self) -> None:
        asyncio.run(self._serve())

    async def _serve(self) -> None:
        database = await Database.connect(self._dsn)
        app = build_app(self._settings, database, self._master_key)
        self.server = uvicorn.Server(uvicorn.Config(app, log_config=None, lifespan="off"))
        try:
            await self.server.serve(sockets=[self._socket])
        finally:
            await database.close()

    def stop(self) -> None:
        if self.server is not None:
            self.server.should_exit = True
        self.join(10)


@dataclass
class Asked:
    """Where requests go, who sends them, and ids of rows that are there, by the name of the field or parameter."""

    url: str
    session: requests.Session
    ids: dict[str, list[str]]
    headers: dict[str, str] = field(default_factory=dict)

    def log_in(self) -> None:
        login = {"username": "admin@alpha.example.com", "password": "right horse"}
        answer = self.session.post(f"{self.url}/api/auth/token", json=login, timeout=_PATIENCE_S)
        self.headers = {"Authorization": f"Bearer {answer.json()['access_token']}", "X-Tenant-ID": "alpha"}

    def send(self, case: schemathesis.Case) -> schemathesis.Response:
        """As the administrator, whatever headers were made up. Some routes end the session: what is cut off is sent again."""
        for name in [name for name in case.headers or () if name.lower() in _IDENTITY]:
            del case.headers[name]
        answer = self._call(case)
        if answer.status_code == 401 and "x-permission" in case.operation.definition.raw:
            self.log_in()
            answer = self._call(case)
        return answer

    def _call(self, case: schemathesis.Case) -> schemathesis.Response:
        return case.call(base_url=self.url, session=self.session, headers=self.headers, timeout=_PATIENCE_S)


@pytest.fixture(scope="module")
def asked(copied, town, town_settings, master_key) -> Iterator[Asked]:
    served = Served(copied.dsn(), town_settings, master_key)
    served.start()
    session = requests.Session()
    session.trust_env = False
    try:
        ids = {f"{kind}_id": [row["id"] for row in rows] for kind, rows in town.items()}
        ids |= {
            "subscription_id": ["sub_0", "sub_1", "sub_9"],
            "address": ["10.100.0.1"],
            "record_id": ids["usage_id"],
        }
        asked = Asked(served.url, session, ids)
        asked.log_in()
        yield asked
    finally:
        session.close()
        served.stop()


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda one: one.name)
def test_every_answer_is_documented(asked, operation):
    of_schema = SCHEMA[operation.path][operation.method]

    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
    )
    @given(data=st.data())
    def ask(data: st.DataObject) -> None:
        mode = data.draw(st.sampled_from([GenerationMode.POSITIVE, GenerationMode.NEGATIVE]))
        case = data.draw(of_schema.as_strategy(generation_mode=mode))
        if not data.draw(st.booleans(), label="goes astray"):
            _aim(case, asked.ids, data)
        case.validate_response(asked.send(case), checks=CHECKS)

    ask()


def _aim(case: Any, ids: dict[str, list[str]], data: st.DataObject) -> None:
    """Put ids of real rows where the document says that ids go."""
    places = [case.path_parameters, case.query, case.body]
    for place in (one for one in places if isinstance(one, dict)):
        for name in place.keys() & ids.keys():
            place[name] = data.draw(st.sampled_from(ids[name]))

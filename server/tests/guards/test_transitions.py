"""Every state machine as a table, and every command of the surface in every state: legal works, all else is 409 with what is allowed."""

from __future__ import annotations

import importlib
import pkgutil
import re
from collections.abc import Collection
from enum import StrEnum
from typing import Any

import pytest
import pytest_asyncio

import demarc.modules
from demarc.kernel.errors import Conflict
from demarc.kernel.states import StateMachine

from .inhabited import Town, founded
from .walks import NOT_BY_HAND, OTHER_WORDS, SAME, WALKS, Command, Walk


def machines() -> list[StateMachine[Any]]:
    """Every state machine that a module declares."""
    found = []
    for module in pkgutil.walk_packages(demarc.modules.__path__, "demarc.modules."):
        if module.name.endswith(".states"):
            states = importlib.import_module(module.name)
            found += [value for value in vars(states).values() if isinstance(value, StateMachine)]
    return list({id(one): one for one in found}.values())


MACHINES = machines()


@pytest.mark.parametrize("machine", MACHINES, ids=lambda one: one.entity)
def test_the_table_knows_every_state_and_refuses_with_what_is_allowed(machine):
    kind: type[StrEnum] = type(next(iter(machine.moves)))
    assert set(machine.moves) == set(kind)
    for current in kind:
        for target in kind:
            if machine.can(current, target):
                machine.check(current, target)
                continue
            with pytest.raises(Conflict) as refused:
                machine.check(current, target)
            words = set(re.findall(r"\w+", refused.value.message))
            assert {current.value, target.value, *machine.moves[current]} <= words


def test_every_machine_is_walked_or_has_its_reason():
    walked = {id(walk.machine) for walk in WALKS.values()}
    left = {one.entity for one in MACHINES if id(one) not in walked}
    assert left == NOT_BY_HAND.keys()


@pytest.mark.parametrize("walk", WALKS.values(), ids=WALKS)
def test_what_a_command_leads_to_is_a_move_of_the_machine(walk):
    for name, command in walk.commands.items():
        for current, target in command.leads.items():
            assert target is SAME or target == current or walk.machine.can(current, target), (
                f"{name} from {current}"
            )


@pytest_asyncio.fixture
async def town(admin, database, master_key, tmp_path):
    async with founded(admin, database, master_key, tmp_path / "mail") as made:
        await made.offer()
        yield made


@pytest.mark.parametrize("name", WALKS)
async def test_every_command_in_every_state(town: Town, name: str):
    walk = WALKS[name]
    for current in walk.machine.moves:
        legal = {said: command for said, command in walk.commands.items() if current in command.leads}
        for said, command in legal.items():
            await _does(town, walk, current, said, command)
        await _refuses(town, walk, current, walk.commands.keys() - legal.keys())


async def _does(town: Town, walk: Walk, current: StrEnum, said: str, command: Command) -> None:
    thing = await walk.bring(town, current)
    assert (await _state(town, walk, thing)) == current
    answer = await command.send(town, thing)
    assert answer.is_success, f"{said} when {current.value}: {answer.status_code} {answer.text}"
    target = command.leads[current]
    expected = current if target is SAME else target
    assert (await _state(town, walk, thing)) in (expected, GONE), f"{said} when {current.value}"


async def _refuses(town: Town, walk: Walk, current: StrEnum, commands: Collection[str]) -> None:
    """All on one thing: what is refused leaves it as it was."""
    thing = await walk.bring(town, current)
    before = await _state(town, walk, thing)
    assert before in (current, GONE)
    for said in sorted(commands):
        what = f"{said} when {current.value}"
        answer = await walk.commands[said].send(town, thing)
        assert answer.status_code == (404 if before == GONE else 409), (
            f"{what}: {answer.status_code} {answer.text}"
        )
        if before != GONE:
            _check_refusal(what, current, answer.json()["error"])
        assert (await _state(town, walk, thing)) == before, what


GONE = "gone"
"""What has ended is no more on the surface."""


async def _state(town: Town, walk: Walk, thing: Any) -> str:
    answer = await town.admin.get(walk.read(thing))
    return str(answer.json()[walk.key]) if answer.status_code == 200 else GONE


def _check_refusal(what: str, current: StrEnum, error: dict[str, Any]) -> None:
    message = error["message"]
    if error["code"] in OTHER_WORDS:
        assert OTHER_WORDS[error["code"]] in message, f"{what}: {error}"
        return
    assert current.value in message, f"{what}: {error}"
    assert "allowed from here" in message, f"{what}: {error}"

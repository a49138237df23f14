"""`fno`: coverage, orders, faults and mail from a shell. Configured by `FNO_…` variables; `--json` for programs."""

from __future__ import annotations

import asyncio
import csv
import json
import os
import sqlite3
import ssl
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer
from pydantic import ValidationError
from rich.console import Console
from rich.markup import escape
from rich.progress import Progress
from rich.table import Table

from fno_portal.audit import FileAudit
from fno_portal.config import FileSecrets, read_environment
from fno_portal.coverage import CoverageCache
from fno_portal.coverage_file import FileCoverageCache
from fno_portal.coverage_map import check_map, write_map
from fno_portal.errors import (
    FNOConfigError,
    FNOError,
    FNONotConfiguredError,
    FNONotFoundError,
    FNORateLimitError,
    FNOValidationError,
)
from fno_portal.mail.parser import FNOEmailParser
from fno_portal.master import FNOMasterPortal
from fno_portal.models import Address, CoverageAnswer, FNOOrder
from fno_portal.orders.sqlite import SqliteStore
from fno_portal.redaction import redact_text
from fno_portal.registry import Workshop

T = TypeVar("T")
app = typer.Typer(help=__doc__, no_args_is_help=True, pretty_exceptions_enable=False, add_completion=False)
out, err = Console(), Console(stderr=True)
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Operators = Annotated[list[str] | None, typer.Option("--fno", help="Only this operator (repeatable).")]
_AT_ONCE, _PATIENCE = 8, 3
_KEPT_S = 6 * 3600
_STOPPED = 130


def _home() -> Path:
    home = Path(os.environ.get("FNO_HOME", Path.home() / ".fno"))
    try:
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise FNOConfigError(
            f"{home} cannot be used ({type(error).__name__})", hint="Set FNO_HOME to a folder of yours"
        ) from None
    return home


def _run(
    work: Callable[[FNOMasterPortal], Awaitable[T]],
    *,
    workshop: Workshop | None = None,
    cache: Callable[[], CoverageCache] | None = None,
) -> T:
    """Run over a portal with its store in FNO_HOME; an error of the tree ends with status 1 and its words."""

    async def whole() -> T:
        folder = os.environ.get("FNO_SECRETS_DIR")
        store = SqliteStore(_home() / "orders.db")
        defaults = {"state_dir": str(_home() / "state"), "evidence_dir": str(_home() / "evidence")}
        config = read_environment(secrets=FileSecrets(Path(folder)) if folder else None)
        config = {name: {**defaults, **settings} for name, settings in config.items()}
        try:
            async with FNOMasterPortal(
                config,
                store=store,
                audit=FileAudit(_home() / "audit.jsonl"),
                workshop=workshop,
                cache=cache() if cache else None,
            ) as portal:
                return await work(portal)
        finally:
            store.close()

    try:
        return asyncio.run(whole())
    except FNOError as error:
        _say(error.code, str(error))
    except (sqlite3.Error, OSError) as error:
        _say("local_failure", f"{type(error).__name__}: {error}. See that {_home()} is whole and has room")
    except KeyboardInterrupt:
        _say("stopped", "run the same again to go on; nothing is done twice")
        raise typer.Exit(_STOPPED) from None
    raise typer.Exit(1)


def _say(code: str, words: str) -> None:
    err.print(f"[red]{code}[/red]: {escape(words)}", highlight=False, soft_wrap=True)


def _print_json(data: Any) -> None:
    sys.stdout.write(json.dumps(data, indent=2, ensure_ascii=False, default=str) + "\n")


@app.command()
def operators(as_json: Json = False) -> None:
    """List the configured operators, what they can do, and whether their interface is assumed."""

    async def work(portal: FNOMasterPortal) -> list[dict[str, Any]]:
        return portal.describe()

    found = _run(work)
    if as_json:
        _print_json(found)
        return
    table = Table("operator", "channel", "assumed", "can")
    for one in found:
        table.add_row(
            one["operator"], one["channel"], "yes" if one["assumed"] else "no", ", ".join(one["capabilities"])
        )
    out.print(table)


@dataclass(slots=True)
class _Line:
    """One address to ask for, or the line of a CSV that holds none."""

    number: int
    text: str
    place: Address | None = None
    problem: FNOValidationError | None = None
    answers: list[CoverageAnswer] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        problem = {"line": self.number, "problem": self.problem.to_dict()} if self.problem else {}
        return {
            "address": self.text,
            "answers": [one.model_dump(mode="json") for one in self.answers],
            **problem,
        }


@app.command()
def coverage(
    address: Annotated[str | None, typer.Argument(help="One address.")] = None,
    file: Annotated[
        Path | None, typer.Option("--csv", help="Many: columns address, and where known latitude, longitude.")
    ] = None,
    map_file: Annotated[
        Path | None, typer.Option("--map", help="Write a map: .html (drawn) or .geojson.")
    ] = None,
    fno: Operators = None,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Ask again for what was answered in the last six hours.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Check coverage of one address, or of a CSV of many with progress and a map.

    Answers are kept for six hours: a list that was interrupted goes on where it was. Lines of a CSV that hold no
    address are told, the others are asked, and the status is 1 at the end.
    """
    if (address is None) == (file is None):
        raise typer.BadParameter("give one address, or --csv FILE")

    async def work(portal: FNOMasterPortal) -> list[_Line]:
        if map_file is not None:
            check_map(map_file)
        if not portal.clients:
            raise FNONotConfiguredError(
                "no operator is configured", hint="Set FNO_VUMATEL_BASE_URL and so on"
            )
        lines = [_Line(1, address, Address(address))] if address is not None else _read_csv(file)
        await _check_many(portal, [one for one in lines if one.place is not None], fno)
        return lines

    found = _run(work, cache=lambda: FileCoverageCache(_home() / "coverage.db", 0 if fresh else _KEPT_S))
    asked = [one for one in found if one.place is not None]
    if map_file is not None:
        write_map(map_file, [(one.text, one.answers) for one in asked])
    if as_json:
        _print_json([one.to_dict() for one in found])
    else:
        out.print(_table(asked))
    for one in found:
        if one.problem is not None:
            _say(one.problem.code, str(one.problem))
    if len(asked) < len(found):
        raise typer.Exit(1)


def _table(lines: list[_Line]) -> Table:
    table = Table("address", "operator", "coverage", "packages, or the reason")
    for line in lines:
        for one in line.answers:
            table.add_row(escape(line.text), one.fno, one.state.value, escape(_told(one)))
    return table


def _told(answer: CoverageAnswer) -> str:
    if answer.reason is not None:
        return str(answer.reason["message"])
    packages = answer.result.packages if answer.result else []
    return ", ".join(
        f"{one.name}" + (f" R{one.monthly_cost:.2f}" if one.monthly_cost is not None else "")
        for one in packages
    )


def _read_csv(file: Path | None) -> list[_Line]:
    assert file is not None
    try:
        with file.open(newline="", encoding="utf-8-sig") as text:
            head = text.readline()
            # A spreadsheet writes semicolons where the comma is the decimal mark, as in South Africa.
            delimiter = max(",;\t", key=head.count)
            names = [name.strip().lower() for name in next(csv.reader([head], delimiter=delimiter), [])]
            _check_columns(names, file)
            rows = csv.DictReader(text, names, delimiter=delimiter)
            return [_line(rows.line_num + 1, row, delimiter) for row in rows]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise FNOValidationError(
            f"{file} cannot be read ({type(error).__name__})", hint="Give a CSV in UTF-8"
        ) from None


def _check_columns(names: list[str], file: Path) -> None:
    if "address" not in names and not {"latitude", "longitude"} <= set(names):
        raise FNOValidationError(
            f"{file} has no column address, it begins with {', '.join(names) or 'nothing'}",
            hint="Let the first line be: address,latitude,longitude",
        )


def _line(number: int, row: dict[Any, Any], delimiter: str) -> _Line:
    line = _Line(number, redact_text(" ".join((row.get("address") or "").split())))
    try:
        line.place = _place(row, delimiter)
    except ValueError as error:
        reason = error.message if isinstance(error, FNOValidationError) else "a coordinate is no number"
        line.problem = FNOValidationError(
            f"line {number}: {reason}", hint="Columns: address, latitude, longitude"
        )
    return line


def _place(row: dict[Any, Any], delimiter: str) -> Address:
    if row.get(None):
        # Else an address would be cut at its comma, and another place asked for.
        raise FNOValidationError(f"more fields than columns, put an address with {delimiter!r} in quotes")
    point: dict[str, Any] = {
        key: float(row[key] if delimiter == "," else row[key].replace(",", "."))
        for key in ("latitude", "longitude")
        if row.get(key)
    }
    return Address(row.get("address") or "", **point)


async def _check_many(portal: FNOMasterPortal, lines: list[_Line], fnos: list[str] | None) -> None:
    gate = asyncio.Semaphore(_AT_ONCE)
    with Progress(console=err, transient=True, disable=len(lines) == 1) as progress:
        task = progress.add_task("addresses", total=len(lines))

        async def one(line: _Line, place: Address) -> None:
            async with gate:
                answers = await portal.check_all_coverage_detailed(place, fnos)
            progress.advance(task)
            line.answers = [_with_point(place, answer) for answer in answers]

        await asyncio.gather(*(one(line, line.place) for line in lines if line.place is not None))
        if len(lines) > 1:
            await _ask_again(portal, lines, progress)


async def _ask_again(portal: FNOMasterPortal, lines: list[_Line], progress: Progress) -> None:
    """Ask for what our own rate budget did not allow: all operators at once, each for one address after the other."""
    late: dict[str, list[_Line]] = {}
    for line in lines:
        for answer in filter(_is_over_budget, line.answers):
            late.setdefault(answer.fno, []).append(line)

    async def one(fno: str, waiting: list[_Line]) -> None:
        task = progress.add_task(f"{fno}, by its rate", total=len(waiting))
        for line in waiting:
            await _replace(portal, line, fno)
            progress.advance(task)

    await asyncio.gather(*(one(fno, waiting) for fno, waiting in late.items()))


async def _replace(portal: FNOMasterPortal, line: _Line, fno: str) -> None:
    assert line.place is not None
    for _ in range(_PATIENCE):
        (answer,) = await portal.check_all_coverage_detailed(line.place, [fno])
        if not _is_over_budget(answer):
            break
    answer = _with_point(line.place, answer)
    line.answers = [answer if one.fno == fno else one for one in line.answers]


def _is_over_budget(answer: CoverageAnswer) -> bool:
    reason = answer.reason or {}
    return reason.get("code") == FNORateLimitError.code and reason.get("ours") is True


def _with_point(place: Address, answer: CoverageAnswer) -> CoverageAnswer:
    if answer.result is None or answer.result.latitude is not None or place.latitude is None:
        return answer
    point = {"latitude": place.latitude, "longitude": place.longitude}
    return answer.model_copy(update={"result": answer.result.model_copy(update=point)})


@app.command()
def order(
    fno: str,
    file: Annotated[
        Path, typer.Argument(help="JSON of the order: reference, customer_id, address, package, rica, …")
    ],
    as_json: Json = False,
) -> None:
    """Order once per reference. The same file again answers what is known."""

    async def work(portal: FNOMasterPortal) -> Any:
        try:
            data = json.loads(file.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise FNOValidationError(
                f"{file} is no JSON file ({type(error).__name__})", hint="See the README"
            ) from None
        if not isinstance(data, dict):
            raise FNOValidationError("the order is no JSON object", hint="See the README")
        return await portal.create_order(fno, data)

    _show_order(_run(work), as_json)


@app.command()
def status(
    reference: str,
    events: Annotated[bool, typer.Option("--events", help="Show the log too.")] = False,
    settle: Annotated[bool, typer.Option("--settle", help="Look an unknown outcome up.")] = False,
    as_json: Json = False,
) -> None:
    """Ask the operator for an order's state (by our reference)."""

    async def work(portal: FNOMasterPortal) -> Any:
        found = await (portal.settle_order(reference) if settle else portal.refresh_order(reference))
        return found, await portal.list_events(reference) if events else []

    found, log = _run(work)
    _show_order(found, as_json, log)


@app.command()
def poll(as_json: Json = False) -> None:
    """Settle what is open, then ask for every order under way: by feed where there is one, else one by one.

    For a timer. An operator that fails is told on stderr (JSON: in `problems`); the others are asked all the same.
    """

    async def work(portal: FNOMasterPortal) -> tuple[dict[str, FNOOrder], dict[str, FNOError]]:
        told: dict[str, FNOOrder | FNOError] = dict(await portal.recover())
        for name, changed in (await portal.poll_changes()).items():
            if isinstance(changed, FNORateLimitError) and changed.ours:
                continue  # It is not time yet; its orders are asked for one by one.
            told |= {name: changed} if isinstance(changed, FNOError) else {one.id: one for one in changed}
        told |= await portal.poll_orders()
        return (
            {key: one for key, one in told.items() if isinstance(one, FNOOrder)},
            {key: one for key, one in told.items() if isinstance(one, FNOError)},
        )

    orders, problems = _run(work)
    if as_json:
        _print_json(
            {
                "orders": [one.model_dump(mode="json") for one in orders.values()],
                "problems": {key: one.to_dict() for key, one in problems.items()},
            }
        )
        return
    for one in orders.values():
        _show_order(one, as_json)
    for key, problem in problems.items():
        err.print(f"{key}: {problem}", highlight=False, markup=False, soft_wrap=True)


@app.command()
def confirm(
    reference: str,
    by: Annotated[str, typer.Option("--by", help="Who asked the operator.")],
    number: Annotated[
        str | None,
        typer.Option("--number", help="The operator's number; leave it out where it has no such order."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Tell what became of an order of unknown outcome, after asking the operator."""
    _show_order(_run(lambda portal: portal.confirm_order(reference, number, by)), as_json)


@app.command()
def cancel(reference: str, reason: str, as_json: Json = False) -> None:
    """Ask the operator to cancel an order under way."""
    _show_order(_run(lambda portal: portal.cancel_order(reference, reason)), as_json)


def _show_order(found: Any, as_json: bool, log: Any = ()) -> None:
    if as_json:
        _print_json(
            found.model_dump(mode="json")
            | ({"events": [one.model_dump(mode="json") for one in log]} if log else {})
        )
        return
    out.print(
        f"{found.id}: {found.status.value} ({found.outcome.value}), {found.fno} {found.fno_reference or '-'}"
    )
    for one in log:
        out.print(
            f"  {one.recorded_at:%Y-%m-%d %H:%M} {one.source.value} {one.status.value if one.status else ''} {one.note}"
        )


@app.command()
def fault(
    fno: str,
    description: str,
    severity: Annotated[str, typer.Option(help="low, medium, high or critical")] = "medium",
    order_id: Annotated[
        str | None, typer.Option("--order", help="The operator's number of order or service.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Report a fault."""
    data = {"description": description, "severity": severity} | ({"order_id": order_id} if order_id else {})
    taken = _run(lambda portal: portal.submit_fault(fno, data))
    _print_json(taken) if as_json else out.print(f"{fno}: {taken['fault_id']} {taken['status']}")


@app.command("fault-status")
def fault_status(fno: str, fault_id: str, as_json: Json = False) -> None:
    """Ask for a fault's state."""
    taken = _run(lambda portal: portal.get_fault_status(fno, fault_id))
    _print_json(taken) if as_json else out.print(f"{fno}: {taken['fault_id']} {taken['status']}")


@app.command()
def mail(
    since: Annotated[str | None, typer.Option(help="YYYY-MM-DD; two weeks back when missing")] = None,
    fno: Operators = None,
    done: Annotated[
        list[str] | None,
        typer.Option(help="Take this mail off the unmatched ones (its key; repeatable); reads none."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Read the operators' mails (FNO_MAIL_SERVER, _USERNAME, _PASSWORD, _AUTHSERV_IDS) and apply them.

    What could not be believed, read or placed is listed as unmatched until a person has dealt with it (--done).
    """

    async def work(portal: FNOMasterPortal) -> Any:
        if done:
            await _take_off(portal, done)
            return [], await portal.store.list_unmatched()
        parser = _parser()
        try:
            day = since or (date.today() - timedelta(days=14)).isoformat()  # noqa: DTZ011 - a day, in local time
            orders = await portal.poll_mail(parser, day, fno)
        finally:
            parser.close()
        return orders, await portal.store.list_unmatched()

    orders, unmatched = _run(work)
    if as_json:
        _print_json(
            {
                "orders": [one.model_dump(mode="json") for one in orders],
                "unmatched": [one.model_dump(mode="json") for one in unmatched],
            }
        )
        return
    for one in orders:
        out.print(f"{one.id}: {one.status.value}")
    for message in unmatched:
        out.print(
            f"unmatched {message.key}: {message.fno} {message.sender} {message.subject!r}: {message.reason}",
            markup=False,
            soft_wrap=True,
        )


async def _take_off(portal: FNOMasterPortal, keys: list[str]) -> None:
    for key in keys:
        if not await portal.store.remove_unmatched(key):
            raise FNONotFoundError(f"no unmatched mail has the key {key}", hint="`fno mail` lists them")


def _parser() -> FNOEmailParser:
    folder = os.environ.get("FNO_SECRETS_DIR")
    settings = read_environment(secrets=FileSecrets(Path(folder)) if folder else None).get("mail", {})
    if not all(settings.get(key) for key in ("server", "username", "password")):
        raise FNONotConfiguredError(
            "no mailbox is configured", hint="Set FNO_MAIL_SERVER, _USERNAME and _PASSWORD"
        )
    return FNOEmailParser(
        settings["server"],
        settings["username"],
        settings["password"],
        port=settings.get("port", 993),
        mailbox=settings.get("mailbox", "INBOX"),
        authserv_ids=[one.strip() for one in settings.get("authserv_ids", "").split(",") if one.strip()],
        ssl_context=_tls(settings.get("ca_file")),
    )


def _tls(ca_file: str | None) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=ca_file)
    except OSError as error:
        raise FNOConfigError(
            f"the certificate file {ca_file} cannot be used ({type(error).__name__})",
            hint="Correct FNO_MAIL_CA_FILE",
        ) from None


@app.command()
def login(fno: str, as_json: Json = False) -> None:
    """Log in to an operator's portal in a window, where a person can solve a CAPTCHA; the session is kept."""

    async def person(_: Any, task: str) -> None:
        await asyncio.to_thread(input, f"{task}, and press Enter here: ")

    async def work(portal: FNOMasterPortal) -> None:
        client: Any = portal.client(fno).client
        client = getattr(client, "portal", client) if not hasattr(client, "log_in") else client
        if not hasattr(client, "log_in"):
            raise FNONotConfiguredError(
                "no portal is configured", fno=fno, hint="Set portal_url, username and password"
            )
        await client.log_in()

    _run(work, workshop=Workshop(headless=False, human=person))
    _print_json({"fno": fno, "logged_in": True}) if as_json else out.print(f"{fno}: logged in")


def main() -> None:
    """The entry point of `fno`."""
    try:
        app()
    except ValidationError:
        err.print("[red]invalid[/red]: what was stored cannot be read")
        raise SystemExit(1) from None


if __name__ == "__main__":
    main()

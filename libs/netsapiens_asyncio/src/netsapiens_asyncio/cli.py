"""The command `netsapiens`."""

from __future__ import annotations

import argparse
import asyncio
import csv
import json
import logging
import os
import stat
import sys
import tomllib
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TextIO

from netsapiens_asyncio._paging import take
from netsapiens_asyncio.auth import NetsapiensAPI
from netsapiens_asyncio.cdrs import CdrsAPI
from netsapiens_asyncio.errors import InvalidInput, NetsapiensError, OutcomeUnknown
from netsapiens_asyncio.messages import MessageAPI
from netsapiens_asyncio.subscribe import VALID_MODELS, SubscriptionAPI

NAMES = (
    "base_url",
    "client_id",
    "client_secret",
    "username",
    "password",
    "token_type",
    "api_key",
)
CREDENTIALS = Path("~/.config/netsapiens/credentials.toml")
SECRET_KEYS = {"access_token", "refresh_token"}
CDR_COLUMNS = (
    "id",
    "domain",
    "call-direction",
    "call-start-datetime",
    "call-answer-datetime",
    "call-disconnect-datetime",
    "call-talking-duration-seconds",
    "call-total-duration-seconds",
    "call-orig-user",
    "call-orig-caller-id",
    "call-orig-to-user",
    "call-term-user",
    "call-term-caller-id",
    "call-through-user",
    "call-parent-cdr-id",
    "call-disconnect-reason-text",
)
EPILOG = """Credentials come from NETSAPIENS_BASE_URL, _CLIENT_ID, _CLIENT_SECRET, _USERNAME, _PASSWORD, or _API_KEY in the
environment, or from a TOML file of mode 0600 with the same names in lower case (--credentials).
Exit status: 0 done, 1 the PBX refused or failed, 2 refused before anything was sent, 3 outcome of a write unknown."""
Wanted = argparse.Namespace
Command = Callable[[NetsapiensAPI, Wanted], Awaitable[Any]]


def read_credentials(environment: dict[str, str], path: Path) -> dict[str, str]:
    """The file's credentials, overridden by the environment's.

    Raises:
        InvalidInput: the file can be read by others, or is no TOML.
    """
    found = _read_file(path.expanduser())
    for name in NAMES:
        value = environment.get(f"NETSAPIENS_{name.upper()}")
        if value:
            found[name] = value
    return found


def _read_file(path: Path) -> dict[str, str]:
    try:
        with path.open("rb") as file:
            if stat.S_IMODE(os.fstat(file.fileno()).st_mode) & 0o077:
                raise InvalidInput("credentials", f"{path} can be read by others; run: chmod 600 {path}")
            content = tomllib.load(file)
    except FileNotFoundError:
        return {}
    except (tomllib.TOMLDecodeError, UnicodeDecodeError):
        raise InvalidInput("credentials", f"{path} is not TOML") from None  # its words could quote a secret
    return {name: str(content[name]) for name in NAMES if name in content}


async def check_token(client: NetsapiensAPI, _: Wanted) -> Any:
    token = await client.get_token()
    return {key: value for key, value in token.items() if key not in SECRET_KEYS}


async def send(client: NetsapiensAPI, wanted: Wanted) -> Any:
    text = sys.stdin.read().rstrip("\n") if wanted.message == "-" else wanted.message
    return await MessageAPI(client).send_message(
        wanted.type, text, wanted.to, wanted.sender, wanted.session, confirm=wanted.confirm
    )


async def list_sessions(client: NetsapiensAPI, wanted: Wanted) -> Any:
    return await MessageAPI(client).get_messages(domain=wanted.domain, user=wanted.user, limit=wanted.limit)


async def list_messages(client: NetsapiensAPI, wanted: Wanted) -> Any:
    return await MessageAPI(client).get_messages(
        wanted.session, domain=wanted.domain, user=wanted.user, limit=wanted.limit
    )


async def list_subscriptions(client: NetsapiensAPI, _: Wanted) -> Any:
    return await SubscriptionAPI(client).list_subscriptions()


async def create_subscription(client: NetsapiensAPI, wanted: Wanted) -> Any:
    return await SubscriptionAPI(client).create_subscription(
        wanted.model, wanted.post_url, domain=wanted.domain, user=wanted.user
    )


async def delete_subscription(client: NetsapiensAPI, wanted: Wanted) -> Any:
    return await SubscriptionAPI(client).delete_subscription(wanted.id)


async def export_cdrs(client: NetsapiensAPI, wanted: Wanted) -> Any:
    records = CdrsAPI(client).iterate(wanted.since, wanted.until, domain=wanted.domain, kind=wanted.kind)
    if wanted.csv is None:
        return await take(records, wanted.limit)
    if wanted.csv == "-":
        await _write_csv(records, sys.stdout)
        return None
    partial = f"{wanted.csv}.partial"
    with open(partial, "w", newline="", encoding="utf-8") as file:  # noqa: ASYNC230, PTH123 - nothing else runs here
        count = await _write_csv(records, file)
    os.replace(partial, wanted.csv)  # noqa: PTH105 - a failed export leaves the one before as it was
    return {"cdrs": count, "file": wanted.csv}


async def _write_csv(records: Any, file: TextIO) -> int:
    writer = csv.DictWriter(file, CDR_COLUMNS, extrasaction="ignore")
    writer.writeheader()
    count = 0
    async for record in records:
        writer.writerow({key: _plain(value) for key, value in record.items()})
        count += 1
    return count


def _plain(value: Any) -> Any:
    """A spreadsheet would run a cell that begins like a formula: such text gets an apostrophe."""
    risky = isinstance(value, str) and value[:1] in {"=", "+", "-", "@", "\t", "\r"}
    return f"'{value}" if risky and not value[1:].isdigit() else value


def moment(value: str) -> datetime:
    """A point in time; UTC when it names no zone."""
    try:
        found = datetime.fromisoformat(value)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{value!r} is no time such as 2024-12-09T21:00:00Z") from None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="netsapiens",
        description="Daily work with a NetSapiens PBX.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--credentials", type=Path, metavar="FILE", help=f"({CREDENTIALS})")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    _add(commands, "token", check_token, "log in and show the account (not the token)")
    _add_messages(commands)
    _add_subscriptions(commands)
    export = _add(commands, "cdrs", export_cdrs, "call detail records of a span, to CSV or as JSON")
    export.add_argument("--since", type=moment, required=True, help="e.g. 2024-12-09T00:00:00Z")
    export.add_argument("--until", type=moment, required=True)
    export.add_argument("--domain", default="~", help="(the account's own)")
    export.add_argument("--kind", help="Inbound, Outbound, On-net, Off-net, Missed, Received")
    export.add_argument("--csv", metavar="FILE", help="write CSV; - is standard output")
    export.add_argument("--limit", type=int, help="without --csv: at most so many")
    return parser


def _add_messages(commands: Any) -> None:
    sender = _add(commands, "send", send, "send a message, once")
    sender.add_argument("--type", default="sms", help="sms (default) or chat")
    sender.add_argument("--from", dest="sender", metavar="NUMBER", help="required for sms")
    sender.add_argument("--to", action="append", required=True, metavar="NUMBER", help="may be repeated")
    sender.add_argument("--message", required=True, metavar="TEXT", help="- reads it from standard input")
    sender.add_argument("--session", metavar="ID", help="send in this session")
    sender.add_argument("--confirm", action="store_true", help="wait until it is to be seen")
    sessions = _add(commands, "sessions", list_sessions, "message sessions")
    messages = _add(commands, "messages", list_messages, "messages of a session")
    messages.add_argument("session", metavar="ID")
    for parser in (sessions, messages):
        parser.add_argument("--domain", default="~", help="(the account's own)")
        parser.add_argument("--user")
        parser.add_argument("--limit", type=int, help="(all)")


def _add_subscriptions(commands: Any) -> None:
    group = commands.add_parser("subscriptions", help="event subscriptions")
    inner = group.add_subparsers(required=True, metavar="ACTION")
    _add(inner, "list", list_subscriptions, "all of the account")
    create = _add(inner, "create", create_subscription, "a new one")
    create.add_argument("model", choices=VALID_MODELS)
    create.add_argument("post_url", metavar="URL")
    create.add_argument("--domain", default="*")
    create.add_argument("--user", default="*")
    delete = _add(inner, "delete", delete_subscription, "end one")
    delete.add_argument("id", metavar="ID")


def _add(commands: Any, name: str, command: Command, words: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(name, help=words, description=words)
    parser.set_defaults(command=command)
    return parser


def show(result: Any, *, as_json: bool) -> None:
    """Data as JSON, or line by line for people."""
    if result is None:
        return
    if as_json:
        sys.stdout.write(json.dumps(result, indent=2, ensure_ascii=False) + "\n")
        return
    records = result if isinstance(result, list) else [result]
    blocks = ["\n".join(f"{key}: {value}" for key, value in record.items()) for record in records]
    sys.stdout.write("\n\n".join(blocks) + "\n" if blocks else "nothing found\n")


def _chosen_credentials(named: Path | None) -> dict[str, str]:
    if named is not None and not named.expanduser().exists():
        # A file that somebody named is meant: the environment may hold another account's.
        raise InvalidInput("credentials", f"there is no file {named}")
    return read_credentials(dict(os.environ), named or CREDENTIALS)


async def run(wanted: Wanted) -> None:
    """Logs in, does it, shows it."""
    async with NetsapiensAPI(_chosen_credentials(wanted.credentials)) as client:
        show(await wanted.command(client, wanted), as_json=wanted.json)


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point. Returns the exit status."""
    wanted = build_parser().parse_args(arguments)
    # Its retries end in the error that is shown; without a handler Python would print each of them.
    logging.getLogger("stamina").addHandler(logging.NullHandler())
    try:
        asyncio.run(run(wanted))
    except InvalidInput as error:
        return _complain(error, 2)
    except OutcomeUnknown as error:
        return _complain(error, 3)
    except (NetsapiensError, OSError) as error:
        return _complain(error, 1)
    except KeyboardInterrupt:
        return 130
    return 0


def _complain(error: Exception, status: int) -> int:
    sys.stderr.write(f"netsapiens: {error}\n")
    return status


if __name__ == "__main__":
    sys.exit(main())

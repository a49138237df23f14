"""The raddb that Demarc makes for FreeRADIUS 3.2: rendered from `RadiusConfig`, written at once, checked by the server itself.

How it answers (the templates beside this file are the text):

- A packet's source address names the NAS, and the NAS its tenant. NAS come from `aaa_nas` through `dynamic_clients`; after
  `nas_lifetime_seconds` a NAS is looked up anew. Packets from other sources are ignored and logged.
- Authorize is one prepared query over `aaa_login`, `aaa_nas` and `radius_session`. What it returned is remembered in the
  memory of the server, and used only while the database does not answer.
- A subscriber logs on by name and password, or without a password by his line: by MAC, where User-Name and
  Calling-Station-Id are the MAC of the row, or by circuit id, remote id or both (Option 82, RFC 4679), where the row has them. Never under PPP or
  with CHAP or MS-CHAP: there the dial-in itself writes the name, so a name alone opens nothing.
- `aaa_login.mac` is compared as lower-case `aa:bb:cc:dd:ee:ff`; names and circuit ids with a quote, a backslash or an
  equals sign match nothing.
- Accounting is acknowledged after its line is in the spool (`spool_format`), and only then.

CVE-2024-3596 (BlastRADIUS): every reply is signed, Message-Authenticator first, and nothing is proxied. Requests, per NAS:
`required` drops an Access-Request without the attribute before anything else looks at it. `auto` does so from the first
valid one seen on: the server marks the NAS in its memory with the first such packet, and the column
`aaa_nas.message_authenticator_seen`, which the loader of the log-in spool sets, carries the mark over a restart. `off`
takes both.
"""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import shutil
import stat
import subprocess
from dataclasses import dataclass, field
from functools import cache
from ipaddress import IPv4Address
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined

from demarc.adapters.freeradius.spool_format import (
    ACCEPT_FIELDS,
    ACCT_FIELDS,
    ACCT_FILE,
    AUTH_FIELDS,
    AUTH_FILE,
    NO_ANSWER_FIELDS,
    PLAIN_ACCEPT_FIELDS,
    line_expansion,
)
from demarc.adapters.processes.service_user import ServiceUser, service_user
from demarc.kernel.errors import Misconfigured
from demarc.kernel.logs import redact_text

LOOPBACK = IPv4Address("127.0.0.1")

NAME = "radiusd"
"""Name of the configuration: FreeRADIUS reads `<directory>/radiusd.conf` with `-n radiusd`."""

LIBRARY_DIRECTORIES = (
    "/usr/lib/freeradius",
    "/usr/lib64/freeradius",
    "/usr/lib/x86_64-linux-gnu/freeradius",
    "/usr/lib/aarch64-linux-gnu/freeradius",
    "/usr/local/lib/freeradius",
    "/usr/local/lib",
    "/opt/homebrew/lib",
)
INSTALL_HINT = "apt-get install freeradius freeradius-postgresql freeradius-utils"

_WEEK = 7 * 24 * 3600
_SAFE_CHARACTERS = (
    " !#$%&()*+,-./0123456789:;<>?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[]^_`abcdefghijklmnopqrstuvwxyz{|}~"
)
_NAME_KEY = "%{Packet-Src-IP-Address} %{User-Name}"
_LINE_KEY = "%{Packet-Src-IP-Address} %{request:Demarc-Mac} %{User-Name} %{request:Demarc-Circuit-Id} %{request:Demarc-Remote-Id}"
_MAC_PATTERN = "[-:.]?".join(["([0-9a-f]{2})"] * 6)
_RECALLED_REPLIES = (
    "Framed-IP-Address",
    "WISPr-Bandwidth-Max-Down",
    "WISPr-Bandwidth-Max-Up",
    "Acct-Interim-Interval",
)
RECALLED_ROW = (
    "control:Demarc-Decision",
    *(f"reply:{name}" for name in _RECALLED_REPLIES),
    "control:Demarc-Refusal",  # free text, so it comes last: the separator may be in it
)
"""What is remembered of a subscriber beside the NT hash and the extras: one string of fields, because an attribute each takes
ten times the memory. A field is `-` when there is nothing."""

_ABSENT_REPLIES = {
    "Framed-IP-Address": "0.0.0.0",  # noqa: S104  an attribute, nothing is bound
    "WISPr-Bandwidth-Max-Down": "0",
    "WISPr-Bandwidth-Max-Up": "0",
    "Acct-Interim-Interval": "0",
}
_PLAIN_PATH = re.compile(r"[\w./+@:,=-]+(?: [\w./+@:,=-]+)*")


@dataclass(frozen=True, slots=True)
class DatabaseLogin:
    """How FreeRADIUS reaches the database: as the AAA role, which reads the projection and nothing else.

    `host` is a host name, an address or the directory of a Unix socket. The password goes into a 0600 file beside the
    configuration, never into argv or the environment.
    """

    host: str
    port: int
    name: str
    user: str
    password: str = field(repr=False, default="")


@dataclass(frozen=True, slots=True)
class RadiusConfig:
    """All that decides what FreeRADIUS does.

    `run_as` names the user that the child runs as when the platform runs as root. `threads` each hold one database
    connection; two for each core: with more, each finds less of its data in the processor's cache. `cache_entries`
    bounds the subscribers remembered for the time that the database is away (about a kilobyte and a half each).
    """

    directory: Path
    spool_dir: Path
    database: DatabaseLogin
    host: IPv4Address = LOOPBACK
    auth_port: int = 1812
    acct_port: int = 1813
    binary: str = "freeradius"
    library_dir: Path | None = None
    run_as: str | None = None
    threads: int = field(default_factory=lambda: 2 * (os.cpu_count() or 1))
    nas_lifetime_seconds: int = 30
    reject_delay_seconds: int = 1
    cache_entries: int = 500_000


@dataclass(frozen=True, slots=True)
class StatusListener:
    """Where the supervisor asks whether the server lives: loopback, with a secret of this start only."""

    port: int
    secret: str = field(repr=False, default_factory=lambda: secrets.token_hex(16))


def render(config: RadiusConfig, status: StatusListener) -> dict[str, str]:
    """File name -> text of the whole raddb.

    Raises:
        Misconfigured: the FreeRADIUS modules are not installed, or a path holds a character that FreeRADIUS would read
            as its own syntax.
    """
    values = {
        "name": NAME,
        "directory": _plain(config.directory),
        "spool_dir": _plain(config.spool_dir),
        "libdir": _plain(find_library_dir(config)),
        "host": config.host,
        "auth_port": config.auth_port,
        "acct_port": config.acct_port,
        "status_port": status.port,
        "status_secret": status.secret,
        "threads": config.threads,
        "nas_lifetime_seconds": config.nas_lifetime_seconds,
        "reject_delay_seconds": config.reject_delay_seconds,
        "cache_seconds": _WEEK,
        "cache_entries": config.cache_entries,
        "clients_network": "0.0.0.0/0",
        "conninfo": _quoted(_conninfo(config)),
        "open_query": _quoted(_open_query()),
        "safe_characters": _SAFE_CHARACTERS,
        "name_key": _NAME_KEY,
        "line_key": _LINE_KEY,
        "mac_pattern": _MAC_PATTERN,
        "recalled_replies": _RECALLED_REPLIES,
        "row_expansion": "|".join(f"%{{%{{{name}}}:--}}" for name in RECALLED_ROW),
        "absent_replies": _ABSENT_REPLIES,
        "acct_file": _file_expansion(ACCT_FILE),
        "auth_file": _file_expansion(AUTH_FILE),
        "acct_line": line_expansion(ACCT_FIELDS),
        "auth_line": line_expansion(AUTH_FIELDS),
        "no_answer_line": line_expansion(NO_ANSWER_FIELDS),
        "accept_line": line_expansion(ACCEPT_FIELDS),
        "plain_accept_line": line_expansion(PLAIN_ACCEPT_FIELDS),
    }
    return {
        f"{NAME}.conf": _template(f"{NAME}.conf.j2", **values),
        "dictionary": _template("dictionary"),
        "reject_filter": _template("reject_filter"),
        "database.pass": _password_line(config.database),
    }


def fingerprint(config: RadiusConfig) -> str:
    """Equal for two configurations that make the same server; what is made anew at each start does not count."""
    files = render(config, StatusListener(0, ""))
    return hashlib.sha256(repr((config.binary, config.run_as, sorted(files.items()))).encode()).hexdigest()


def write_raddb(config: RadiusConfig, status: StatusListener) -> None:
    """Write the raddb, each file whole or not at all; directories are 0700, files 0600, owned by `run_as`.

    Raises:
        Misconfigured: a place where FreeRADIUS cannot write its spool, or what `render` says.
    """
    if config.spool_dir.resolve().is_relative_to("/dev"):
        raise Misconfigured(
            f"FreeRADIUS makes no files below /dev: set DEMARC_DATA_DIR to another directory than {config.spool_dir}"
        )
    files = render(config, status)
    owner = child_user(config)
    for directory in (config.directory, config.spool_dir):
        _own_directory(directory, owner)
    _take_over_spool(config.spool_dir, owner)
    for name, text in files.items():
        _write_whole(config.directory / name, text, owner)


def unprivileged_user(directory: Path) -> str | None:
    """Whom the server below `directory` runs as when we are root: the service user, if he is there and can reach it.

    None: as we do. So it is when we are not root, and as the last resort for root's own closed directory.
    """
    place = next(path for path in (directory.absolute(), *directory.absolute().parents) if path.exists())
    try:
        user = service_user()
    except Misconfigured:
        return None
    return user.name if user is not None and user.may("x", place) else None


def child_user(config: RadiusConfig) -> ServiceUser | None:
    """Whom the server runs as; None: as we do.

    Raises:
        Misconfigured: the user does not exist, or only root could change to it.
    """
    return service_user(config.run_as) if config.run_as is not None else None


def check_config(config: RadiusConfig) -> None:
    """Let the server read the raddb that was written.

    Raises:
        Misconfigured: with the server's last error lines, without secrets.
    """
    command = [
        find_binary(config.binary),
        "-C",
        "-xx",
        "-l",
        "stdout",
        "-d",
        str(config.directory),
        "-n",
        NAME,
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    if done.returncode != 0:
        raise Misconfigured(
            f"FreeRADIUS refuses the configuration in {config.directory}: {last_errors(done.stdout + done.stderr)}"
        )


def last_errors(output: str, lines: int = 5) -> str:
    """The last lines of a server's output that tell of an error, with secrets cut out."""
    told = [line.strip() for line in output.splitlines() if line.strip()]
    wrong = [
        line for line in told if re.search(r"error|fail|cannot|could not|invalid|unable", line, re.IGNORECASE)
    ]
    return redact_text("; ".join((wrong or told)[-lines:])) or "it gave no reason"


def find_binary(binary: str) -> str:
    """Path of the FreeRADIUS executable.

    Raises:
        Misconfigured: it is not there.
    """
    path = shutil.which(binary) or shutil.which(binary, path="/usr/sbin:/usr/local/sbin:/opt/homebrew/sbin")
    if path is None:
        raise Misconfigured(
            f"there is no {binary!r} to run: `{INSTALL_HINT}`, or set DEMARC_RADIUS_BINARY, "
            "or DEMARC_RADIUS_ENABLED=false to run without RADIUS"
        )
    return path


def find_library_dir(config: RadiusConfig) -> Path:
    """Where the server's modules are.

    Raises:
        Misconfigured: no known place holds the PostgreSQL module.
    """
    places = [config.library_dir] if config.library_dir else [Path(place) for place in LIBRARY_DIRECTORIES]
    for place in places:
        if any(place.glob("rlm_sql_postgresql.*")):
            return place
    raise Misconfigured(f"FreeRADIUS's module rlm_sql_postgresql is not installed: `{INSTALL_HINT}`")


@cache
def _environment() -> Environment:
    return Environment(
        loader=PackageLoader("demarc.adapters.freeradius"),
        variable_start_string="<<",
        variable_end_string=">>",
        block_start_string="<%",
        block_end_string="%>",
        comment_start_string="<#",
        comment_end_string="#>",
        trim_blocks=True,
        undefined=StrictUndefined,
        keep_trailing_newline=True,
        autoescape=False,  # noqa: S701  configuration, not HTML; every value is checked or quoted below
    )


def _template(name: str, /, **values: object) -> str:
    return _environment().get_template(name).render(values)


def _sql(name: str, /, **values: object) -> str:
    lines = (line.strip() for line in _template(name, **values).splitlines())
    return " ".join(line for line in lines if line and not line.startswith("--"))


def _open_query() -> str:
    columns = _sql("login_columns.sql")
    return "; ".join(
        (
            f"PREPARE demarc_nas(inet) AS {_sql('nas_client.sql')}",
            f"PREPARE demarc_by_name(inet, text, text) AS {_sql('login_by_name.sql', login_columns=columns)}",
            "PREPARE demarc_by_line(inet, text, text, text, text, text) AS "
            + _sql("login_by_line.sql", login_columns=columns),
        )
    )


def _conninfo(config: RadiusConfig) -> str:
    database = config.database
    settings = {
        "host": database.host,
        "port": str(database.port),
        "dbname": database.name,
        "user": database.user,
        "passfile": str(config.directory / "database.pass"),
        "connect_timeout": "2",
        "options": "-c statement_timeout=3000 -c plan_cache_mode=force_generic_plan",
    }
    return " ".join(f"{name}='{_escaped(value, chr(39))}'" for name, value in settings.items())


def _password_line(database: DatabaseLogin) -> str:
    escaped = re.sub(r"([\\:])", r"\\\1", database.password)
    return f"*:*:*:*:{escaped}\n" if database.password else ""


def _escaped(text: str, quote: str) -> str:
    return text.replace("\\", "\\\\").replace(quote, f"\\{quote}")


def _file_expansion(name: str) -> str:
    """The name for FreeRADIUS, which expands it for every record and writes a whole date as `%D`."""
    return name.replace("%Y%m%d", "%D")


def _quoted(text: str) -> str:
    if "${" in text or "\n" in text:
        raise Misconfigured(
            "a database setting for FreeRADIUS holds '${' or a line break: choose another value"
        )
    return _escaped(text, '"')


def _plain(path: Path) -> str:
    """The path as it may stand in the configuration, where per cent, dollar and quotes have a meaning."""
    text = str(path.absolute())
    if not _PLAIN_PATH.fullmatch(text):
        raise Misconfigured(
            f"FreeRADIUS cannot use the path {text!r}: move the data directory to a path of letters, digits and ./_-"
        )
    return text


def _write_whole(path: Path, text: str, owner: ServiceUser | None) -> None:
    unfinished = path.with_name(f".{path.name}.new")
    unfinished.unlink(missing_ok=True)
    descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
    _give(unfinished, owner)
    unfinished.replace(path)


def _own_directory(directory: Path, owner: ServiceUser | None) -> None:
    if not directory.parent.exists():
        directory.parent.mkdir(parents=True)
        directory.parent.chmod(0o711)  # whatever the umask: the owner of what is below has to get there
    directory.mkdir(exist_ok=True)
    directory.chmod(0o700)
    _give(directory, owner)


def _take_over_spool(directory: Path, owner: ServiceUser | None) -> None:
    """This hour's file may be another user's, from a start as root: unless it can be written nothing is acknowledged."""
    for path in directory.iterdir():
        state = path.lstat()
        if stat.S_ISREG(state.st_mode) and state.st_nlink == 1:  # never what a link makes look like ours
            _give(path, owner)


def _give(path: Path, owner: ServiceUser | None) -> None:
    if owner is not None:
        os.chown(path, owner.uid, owner.gid, follow_symlinks=False)

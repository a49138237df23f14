"""The other side: FreeRADIUS as its package ships it, with the SQL module switched on as its own manual says.

Only paths, ports, the database and the address it listens on are changed.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

SYSTEM_RADDB = Path("/etc/freeradius/3.0")
SECRET = "testing123"  # of the shipped client "localhost"
SCHEMA = SYSTEM_RADDB / "mods-config/sql/main/postgresql/schema.sql"


@dataclass(frozen=True, slots=True)
class Ports:
    auth: int
    acct: int


def make_stock_raddb(directory: Path, conninfo: str, ports: Ports) -> None:
    """Copy the shipped raddb and point it at our database and ports."""
    shutil.copytree(SYSTEM_RADDB, directory, symlinks=True)
    (directory / "log").mkdir()
    _edit(
        directory / "radiusd.conf",
        (r"(?m)^raddbdir = .*", f"raddbdir = {directory}"),
        (r"(?m)^logdir = .*", f"logdir = {directory}/log"),
        (r"(?m)^run_dir = .*", f"run_dir = {directory}/log"),
        (r"(?m)^\s*(user|group) = freerad$", ""),
    )
    shutil.copy(directory / "mods-available/sql", directory / "mods-enabled/sql")
    _edit(
        directory / "mods-enabled/sql",
        (r'dialect = "sqlite"', 'dialect = "postgresql"'),
        (r'driver = "rlm_sql_null"', 'driver = "rlm_sql_${dialect}"'),
        (r'(?m)^\s*radius_db = "radius"', f'radius_db = "{conninfo}"'),
    )
    (directory / "mods-enabled/eap").unlink()  # its certificates are not what is measured
    (directory / "sites-enabled/inner-tunnel").unlink()
    site = directory / "sites-enabled/default"
    text = site.read_text()
    site.unlink()
    site.write_text(_site(text, ports))


def _site(text: str, ports: Ports) -> str:
    text = re.sub(r"(?m)^\teap \{", "\t-eap {", text)
    text = re.sub(r"(?m)^\t+eap$", "\t-eap", text)
    listeners = iter((ports.auth, ports.acct))
    sections = re.split(r"(?m)^(?=listen \{)", text)
    return sections[0] + "".join(_listener(section, listeners) for section in sections[1:])


def _listener(section: str, ports: object) -> str:
    end = section.index("\n}") + 2
    listen, rest = section[:end], section[end:]
    if re.search(r"(?m)^\s*ipv6addr", listen):
        return rest
    listen = re.sub(r"ipaddr = \*", "ipaddr = 127.0.0.1", listen)
    return re.sub(r"(?m)^(\s*)port = 0", rf"\g<1>port = {next(ports)}", listen) + rest


def _edit(path: Path, *changes: tuple[str, str]) -> None:
    text = path.read_text()
    for pattern, replacement in changes:
        text, count = re.subn(pattern, lambda _match, new=replacement: new, text)
        if count == 0:
            raise SystemExit(f"{path}: nothing matches {pattern}; is this another FreeRADIUS than 3.2?")
    path.write_text(text)


LIMIT_CONFIG = """
prefix = /usr
libdir = {libdir}
confdir = {directory}
raddbdir = {directory}
logdir = {directory}
run_dir = {directory}
name = limit
max_requests = 1000000
proxy_requests = yes
log {{
	destination = stderr
}}
security {{
	status_server = yes
	reject_delay = 1
}}
thread pool {{
	start_servers = {threads}
	max_servers = {threads}
	min_spare_servers = 1
	max_spare_servers = {threads}
	max_queue_size = 65536
}}
modules {{
	pap {{
	}}
	always ok {{
		rcode = ok
	}}
}}
client localhost {{
	ipaddr = 127.0.0.1
	secret = {secret}
}}
server limit {{
	listen {{
		type = auth
		ipaddr = 127.0.0.1
		port = {auth_port}
	}}
	listen {{
		type = acct
		ipaddr = 127.0.0.1
		port = {acct_port}
	}}
	authorize {{
		update control {{
			&Cleartext-Password := "fixed"
		}}
		pap
	}}
	authenticate {{
		Auth-Type PAP {{
			pap
		}}
	}}
	accounting {{
		ok
	}}
}}
"""


def make_limit_raddb(directory: Path, libdir: Path, threads: int, ports: Ports) -> None:
    """FreeRADIUS that asks nobody: how fast the server itself is."""
    directory.mkdir()
    config = LIMIT_CONFIG.format(
        directory=directory,
        libdir=libdir,
        threads=threads,
        auth_port=ports.auth,
        acct_port=ports.acct,
        secret=SECRET,
    )
    (directory / "limit.conf").write_text(config)
    (directory / "dictionary").write_text("")


def start_server(directory: Path, name: str) -> subprocess.Popen[bytes]:
    """Start a FreeRADIUS in the foreground; the caller ends it."""
    return subprocess.Popen(
        ["/usr/sbin/freeradius", "-f", "-d", directory, "-n", name],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )

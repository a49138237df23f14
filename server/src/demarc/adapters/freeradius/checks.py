"""What `demarc doctor` says about RADIUS."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass

from demarc.adapters.freeradius.engine import listening, port_problem
from demarc.adapters.freeradius.raddb import RadiusConfig, find_binary, find_library_dir
from demarc.adapters.processes.service_user import SERVICE_USER
from demarc.kernel.errors import Misconfigured


@dataclass(frozen=True, slots=True)
class Check:
    """One finding: what was looked at, whether it is well, and what to do if not (or what is so, if it is).

    `hint`: not well, but nothing is broken; worth a look.
    """

    name: str
    ok: bool
    advice: str
    hint: bool = False


@dataclass(frozen=True, slots=True)
class NasPosture:
    """How a NAS signs its requests: the mode it is set to, and whether a signed one was ever seen."""

    name: str
    mode: str
    signing_seen: bool


def check_radius(
    config: RadiusConfig, nas: Iterable[NasPosture] = (), *, running: bool = False
) -> list[Check]:
    """Every finding about RADIUS. `running`: our own server holds the ports, so that they are taken is right."""
    return [
        _binary(config),
        _module(config),
        *_user(config),
        *(() if running else _ports(config)),
        *(check_posture(one) for one in nas),
    ]


def check_posture(nas: NasPosture) -> Check:
    """Whether forged answers (CVE-2024-3596) are shut out at this NAS."""
    name = f"NAS {nas.name}: Message-Authenticator"
    if nas.mode == "required" or (nas.mode == "auto" and nas.signing_seen):
        return Check(name, True, "required of every Access-Request")
    if nas.mode == "auto":
        return Check(
            name,
            False,
            "no signed request seen yet, so unsigned ones are taken: make the NAS send Message-Authenticator "
            "(MikroTik: /radius require-message-auth), then set it to `required`",
            hint=True,
        )
    return Check(
        name,
        False,
        "off: unsigned requests are taken (CVE-2024-3596); update the NAS, then set `required`",
        hint=True,
    )


def _binary(config: RadiusConfig) -> Check:
    try:
        return Check("FreeRADIUS", True, find_binary(config.binary))
    except Misconfigured as error:
        return Check("FreeRADIUS", False, error.message)


def _module(config: RadiusConfig) -> Check:
    name = "FreeRADIUS module rlm_sql_postgresql"
    try:
        return Check(name, True, str(find_library_dir(config)))
    except Misconfigured as error:
        return Check(name, False, error.message)


def _user(config: RadiusConfig) -> Iterable[Check]:
    if os.geteuid() != 0:
        return
    name = "FreeRADIUS's user"
    if config.run_as is not None:
        yield Check(name, True, config.run_as)
        return
    yield Check(
        name,
        False,
        f"runs as root, because the user {SERVICE_USER!r} does not exist or cannot reach {config.directory.parent}: "
        f"`make setup` creates it; set DEMARC_DATA_DIR to a directory it can reach (not below /root)",
    )


def _ports(config: RadiusConfig) -> Iterable[Check]:
    for place in listening(config):
        problem = port_problem(place)
        yield Check(f"UDP port {place.port} on {place.host}", problem is None, problem or "free")

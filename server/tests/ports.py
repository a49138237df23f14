"""Ports for the servers of the tests.

A port that the kernel has just given and taken back may go to any client's socket before the server that is meant to
have it comes up, seconds later. These lie below the range that the kernel gives to clients, and each belongs to one
process of the tests, of any run on this machine, until that process ends.
"""

from __future__ import annotations

import random
import socket

_PORTS = range(10_000, 20_000)
_HELD: list[socket.socket] = []


def free_port() -> int:
    """A port of 127.0.0.1, TCP and UDP, that nobody listens on and no other test is given."""
    for port in random.sample(_PORTS, len(_PORTS)):
        if _hold(port) and _is_free(port, socket.SOCK_STREAM) and _is_free(port, socket.SOCK_DGRAM):
            return port
    raise AssertionError(f"every port from {_PORTS.start} to {_PORTS.stop} is taken")


def _hold(port: int) -> bool:
    """Claim the number by a name that vanishes with this process."""
    claim = socket.socket(socket.AF_UNIX)
    try:
        claim.bind(f"\0demarc-test-port-{port}")
    except OSError:
        claim.close()
        return False
    _HELD.append(claim)
    return True


def _is_free(port: int, kind: int) -> bool:
    with socket.socket(socket.AF_INET, kind) as probe:
        try:
            probe.bind(("", port))
        except OSError:
            return False
    return True

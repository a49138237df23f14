"""What is wrong with an address that nothing can listen on, and what to do about it."""

from __future__ import annotations

import errno
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Listening:
    """A place to listen on, and the settings that name it."""

    protocol: Literal["TCP", "UDP"]
    host: str
    port: int
    host_variable: str
    port_variable: str

    def advice(self, error: OSError) -> str:
        """One sentence: why it cannot be had and what to do."""
        return f"{self.protocol} port {self.port} on {self.host} cannot be used ({error.strerror}): {self._remedy(error)}"

    def _remedy(self, error: OSError) -> str:
        if error.errno == errno.EADDRNOTAVAIL:
            return f"set {self.host_variable} to an address of this machine (`ip -brief address`), or to 0.0.0.0 for all"
        if error.errno == errno.EACCES:
            return f"below 1024 only root may listen; set {self.port_variable} to a higher port"
        flags = "-ltnp" if self.protocol == "TCP" else "-lunp"
        return f"stop what holds it (`ss {flags} 'sport = :{self.port}'`), or set {self.port_variable} to another port"

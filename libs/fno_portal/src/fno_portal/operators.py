"""The operators of the document's table: names, domains, channels."""

from __future__ import annotations

from enum import Enum
from typing import Any

from fno_portal.errors import FNOUnknownOperatorError


class FNO(str, Enum):
    """The six operators of the document; others go by a plain name in the configuration."""

    VUMATEL = "vumatel"
    OPENSERVE = "openserve"
    FROGFOOT = "frogfoot"
    OCTOTEL = "octotel"
    EVOTEL = "evotel"
    METROFIBRE = "metrofibre"


# Whom a mail must come from. Frogfoot and MetroFibre do not use `{name}.co.za`.
MAIL_DOMAINS: dict[str, tuple[str, ...]] = {
    "vumatel": ("vumatel.co.za",),
    "openserve": ("openserve.co.za",),
    "frogfoot": ("frogfoot.com",),
    "octotel": ("octotel.co.za",),
    "evotel": ("evotel.co.za",),
    "metrofibre": ("metrofibre.co.za",),
}


def operator_name(fno: Any) -> str:
    """The plain name of an operator given as FNO or text.

    Raises:
        FNOUnknownOperatorError: an empty name, or not a name at all.
    """
    name = fno.value if isinstance(fno, FNO) else fno
    if not isinstance(name, str) or not name.strip():
        raise FNOUnknownOperatorError(
            f"{fno!r} names no operator", hint=f"Known: {', '.join(one.value for one in FNO)}"
        )
    return name.strip().lower()

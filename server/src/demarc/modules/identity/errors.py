"""Refusals of identity with codes of their own."""

from __future__ import annotations

from demarc.kernel.errors import Conflict


class LastAdministrator(Conflict):
    """The tenant would be left without anybody who may administrate it."""

    code = "LAST_ADMINISTRATOR"

"""How a message may fail to go out."""

from __future__ import annotations

from demarc.kernel.errors import DemarcError, NotFound


class Refused(DemarcError):
    """The receiving side said no for good; sending the same again will not help."""

    code = "MESSAGE_REFUSED"


class TemplateMissing(NotFound):
    """Neither the tenant nor Demarc has this wording."""

    code = "TEMPLATE_NOT_FOUND"

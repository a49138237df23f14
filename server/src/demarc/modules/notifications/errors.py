"""How a message may fail to go out."""

from __future__ import annotations

from demarc.kernel.errors import Conflict, DemarcError, NotFound


class Refused(DemarcError):
    """The receiving side said no for good; sending the same again will not help."""

    code = "MESSAGE_REFUSED"


class TemplateMissing(NotFound):
    """Neither the tenant nor Demarc has this wording."""

    code = "TEMPLATE_NOT_FOUND"


class TemplateExists(Conflict):
    """The tenant has wording of its own by this name already."""

    code = "TEMPLATE_EXISTS"


class NotResendable(Conflict):
    """The message is on its way already, or nothing is left of it."""

    code = "NOT_RESENDABLE"

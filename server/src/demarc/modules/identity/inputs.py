"""What staff and service tokens may be made from; an instance that exists is valid."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from email_validator import EmailNotValidError, validate_email

from demarc.kernel.errors import Invalid, invalid
from demarc.modules.identity.permissions import SCOPES
from demarc.modules.identity.states import Role

NAME_LENGTH = 100
PASSWORD_LENGTH = range(10, 256)
EXPIRES_IN_DAYS = range(1, 3651)


def clean_user_name(name: str) -> str:
    """1 to 100 characters after trimming."""
    trimmed = name.strip()
    if not 1 <= len(trimmed) <= NAME_LENGTH:
        raise invalid("name", f"has to be 1 to {NAME_LENGTH} characters")
    return trimmed


def check_password(password: str, email: str, *, field: str = "password") -> None:
    """10 to 255 characters that are not the e-mail address; length is what makes a password hard to guess."""
    if len(password) not in PASSWORD_LENGTH:
        raise invalid(field, f"has to be {PASSWORD_LENGTH.start} to {PASSWORD_LENGTH.stop - 1} characters")
    if password.lower() == email.lower():
        raise invalid(field, "must not be the e-mail address")


@dataclass(frozen=True, slots=True)
class NewUser:
    """A member of staff. Without a password one is generated, to be shown once."""

    email: str
    name: str
    role: Role
    password: str | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", clean_user_name(self.name))
        try:
            address = validate_email(self.email, check_deliverability=False, test_environment=True).normalized
        except EmailNotValidError:
            raise invalid("email", "is not an e-mail address") from None
        object.__setattr__(self, "email", address.lower())
        if self.password is not None:
            check_password(self.password, address)


def clean_user_changes(changes: dict[str, Any]) -> dict[str, Any]:
    """Of name, role and status, each cleaned; none may be emptied."""
    for field, value in changes.items():
        if value is None:
            raise invalid(field, "cannot be emptied")
    return changes | ({"name": clean_user_name(changes["name"])} if "name" in changes else {})


@dataclass(frozen=True, slots=True)
class NewServiceToken:
    """`scopes` are permissions; `expires_in_days` counts in real time."""

    name: str
    scopes: tuple[str, ...]
    expires_in_days: int = 365

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", clean_user_name(self.name))
        object.__setattr__(self, "scopes", tuple(sorted(set(self.scopes))))
        if not self.scopes:
            raise invalid("scopes", "a service token needs at least one permission")
        unknown = [scope for scope in self.scopes if scope not in SCOPES]
        if unknown:
            raise invalid("scopes", f"{unknown[0]!r} is no permission; GET /api/roles lists them")
        if self.expires_in_days not in EXPIRES_IN_DAYS:
            raise Invalid(f"expires_in_days: has to be 1 to {EXPIRES_IN_DAYS.stop - 1}")

"""The PBX's directory: domains, users, devices, phone numbers, SMS numbers.

All writes answer `{"code": 202, "message": "Accepted"}` before they are done; with `synchronous=True`, where the PBX
offers it, the new record. Fields go out under the PBX's own hyphenated names, e.g.
`users.update("example.com", "1001", {"caller-id-number": "18585551234"})`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any, TypeVar

from netsapiens_asyncio import _inputs as inputs
from netsapiens_asyncio._address import join
from netsapiens_asyncio._paging import PAGE, read_pages
from netsapiens_asyncio.auth import NetsapiensAPI, as_client
from netsapiens_asyncio.errors import InvalidInput
from netsapiens_asyncio.records import (
    Count,
    Device,
    Domain,
    PhoneNumber,
    SmsNumber,
    User,
    as_list,
    as_object,
    as_one,
    put_right,
)

T = TypeVar("T")
Fields = Mapping[str, Any]
SMS_APPLICATIONS = ("user", "callqueue", "available")


class _Collection:
    def __init__(self, auth_client: NetsapiensAPI | Mapping[str, Any]) -> None:
        self._client = as_client(auth_client)

    def _iterate(self, path: str, kind: type[T], key: Callable[[Any], object], page: int) -> AsyncIterator[T]:
        async def fetch(start: int, limit: int) -> list[Any]:
            params = {"start": start, "limit": limit}
            return as_list(await self._client.request("GET", path, params=params), kind)

        return read_pages(fetch, key, page=page)

    async def _get(self, path: str, kind: type[T]) -> T:
        return as_one(await self._client.request("GET", path), kind)

    async def _count(self, path: str) -> int:
        return int(put_right(await self._client.request("GET", path), Count).get("total", 0))

    async def _create(self, path: str, fields: Fields, *, synchronous: bool | None) -> dict[str, Any]:
        body = dict(fields)
        if synchronous is not None:
            body["synchronous"] = "yes" if synchronous else "no"
        return as_object(await self._client.request("POST", path, json=body))

    async def _update(self, path: str, fields: Fields) -> dict[str, Any]:
        if not fields:
            raise InvalidInput("fields", "give at least one field to change")
        return as_object(await self._client.request("PUT", path, json=dict(fields)))

    async def _delete(self, path: str) -> dict[str, Any]:
        return as_object(await self._client.request("DELETE", path))


class DomainsAPI(_Collection):
    """Domains: the PBX's word for a customer's organisation."""

    def iterate(self, *, page: int = PAGE) -> AsyncIterator[Domain]:
        """Every domain the account may see."""
        return self._iterate(join("domains"), Domain, lambda each: each.get("domain"), page)

    async def get(self, domain: str = "~") -> Domain:
        """One domain; `~` is the account's own. Raises NotFound."""
        return await self._get(join("domains", domain), Domain)

    async def count(self) -> int:
        """How many domains there are."""
        return await self._count(join("domains", "count"))

    async def create(
        self,
        domain: str,
        reseller: str,
        description: str,
        fields: Fields | None = None,
        *,
        synchronous: bool = True,
    ) -> dict[str, Any]:
        """A new domain. Raises Conflict when it exists."""
        named = {"domain": domain, "reseller": reseller, "description": description}
        return await self._create(join("domains"), {**(fields or {}), **named}, synchronous=synchronous)

    async def update(self, domain: str, fields: Fields) -> dict[str, Any]:
        """Changes the given fields."""
        return await self._update(join("domains", domain), fields)

    async def delete(self, domain: str) -> dict[str, Any]:
        """Removes a domain with all that is in it."""
        return await self._delete(join("domains", domain))


class UsersAPI(_Collection):
    """Users (extensions) of a domain."""

    def iterate(self, domain: str = "~", *, page: int = PAGE) -> AsyncIterator[User]:
        """Every user of a domain."""
        return self._iterate(join("domains", domain, "users"), User, lambda each: each.get("user"), page)

    async def get(self, domain: str = "~", user: str = "~") -> User:
        """One user; `~` is the account itself. Raises NotFound."""
        return await self._get(join("domains", domain, "users", user), User)

    async def count(self, domain: str = "~") -> int:
        """How many users a domain has."""
        return await self._count(join("domains", domain, "users", "count"))

    async def create(
        self,
        domain: str,
        user: str,
        *,
        first_name: str,
        last_name: str,
        email: str,
        scope: str = "Basic User",
        fields: Fields | None = None,
        synchronous: bool = True,
    ) -> dict[str, Any]:
        """A new user. Raises Conflict when the extension is taken."""
        named = {
            "user": user,
            "name-first-name": first_name,
            "name-last-name": last_name,
            "email-address": email,
            "user-scope": scope,
        }
        path = join("domains", domain, "users")
        return await self._create(path, {**(fields or {}), **named}, synchronous=synchronous)

    async def update(self, domain: str, user: str, fields: Fields) -> dict[str, Any]:
        """Changes the given fields."""
        return await self._update(join("domains", domain, "users", user), fields)

    async def delete(self, domain: str, user: str) -> dict[str, Any]:
        """Removes a user."""
        return await self._delete(join("domains", domain, "users", user))


class DevicesAPI(_Collection):
    """SIP devices of users. Registration passwords are in these records: do not log them."""

    def iterate(
        self, domain: str = "~", user: str | None = None, *, page: int = PAGE
    ) -> AsyncIterator[Device]:
        """Every device of a domain, or of one of its users."""
        owner = ("domains", domain) if user is None else ("domains", domain, "users", user)
        return self._iterate(join(*owner, "devices"), Device, lambda each: each.get("device"), page)

    async def get(self, domain: str, user: str, device: str) -> Device:
        """One device. Raises NotFound."""
        return await self._get(join("domains", domain, "users", user, "devices", device), Device)

    async def count(self, domain: str = "~") -> int:
        """How many devices a domain has."""
        return await self._count(join("domains", domain, "devices", "count"))

    async def create(
        self, domain: str, user: str, device: str, fields: Fields | None = None, *, synchronous: bool = True
    ) -> dict[str, Any]:
        """A new device of a user. Raises Conflict when it exists."""
        path = join("domains", domain, "users", user, "devices")
        return await self._create(path, {**(fields or {}), "device": device}, synchronous=synchronous)

    async def update(self, domain: str, user: str, device: str, fields: Fields) -> dict[str, Any]:
        """Changes the given fields."""
        return await self._update(join("domains", domain, "users", user, "devices", device), fields)

    async def delete(self, domain: str, user: str, device: str) -> dict[str, Any]:
        """Removes a device."""
        return await self._delete(join("domains", domain, "users", user, "devices", device))


class PhoneNumbersAPI(_Collection):
    """Numbers of a domain and where their calls go."""

    def iterate(self, domain: str | None = "~", *, page: int = PAGE) -> AsyncIterator[PhoneNumber]:
        """Every number of a domain; with `domain=None`, of all that the account may see."""
        path = join("phonenumbers") if domain is None else join("domains", domain, "phonenumbers")
        return self._iterate(path, PhoneNumber, lambda each: each.get("phonenumber"), page)

    async def get(self, domain: str, number: str) -> PhoneNumber:
        """One number. Raises NotFound."""
        return await self._get(self._path(domain, number), PhoneNumber)

    async def count(self, domain: str = "~") -> int:
        """How many numbers a domain has."""
        return await self._count(join("domains", domain, "phonenumbers", "count"))

    async def create(
        self,
        domain: str,
        number: str,
        *,
        application: str = "available-number",
        destination: str = "[*]",
        fields: Fields | None = None,
    ) -> dict[str, Any]:
        """Adds a number to a domain. Raises Conflict when it is taken."""
        named = {
            "phonenumber": inputs.check_number("number", number),
            "dial-rule-application": application,
            "dial-rule-translation-destination-user": destination,
        }
        return await self._create(
            join("domains", domain, "phonenumbers"), {**(fields or {}), **named}, synchronous=None
        )

    async def assign(self, domain: str, number: str, user: str) -> dict[str, Any]:
        """Sends the number's calls to a user of the domain."""
        fields = {
            "phonenumber": inputs.check_number("number", number),
            "dial-rule-application": "to-user",
            "dial-rule-translation-destination-user": user,
            "dial-rule-translation-destination-host": domain,
        }
        return await self._update(join("domains", domain, "phonenumbers"), fields)

    async def update(self, domain: str, number: str, fields: Fields) -> dict[str, Any]:
        """Changes the given fields."""
        return await self._update(self._path(domain, number), {**fields, "phonenumber": number})

    async def delete(self, domain: str, number: str) -> dict[str, Any]:
        """Takes a number out of a domain."""
        return await self._delete(self._path(domain, number))

    @staticmethod
    def _path(domain: str, number: str) -> str:
        return join("domains", domain, "phonenumbers", inputs.check_number("number", number))


class SmsNumbersAPI(_Collection):
    """Numbers that send and receive SMS."""

    def iterate(
        self, domain: str | None = "~", user: str | None = None, *, page: int = PAGE
    ) -> AsyncIterator[SmsNumber]:
        """Every SMS number of a domain or of a user; with `domain=None`, of all that the account may see."""
        owner: tuple[str, ...] = () if domain is None else ("domains", domain)
        if domain is not None and user is not None:
            owner = (*owner, "users", user)
        return self._iterate(join(*owner, "smsnumbers"), SmsNumber, lambda each: each.get("number"), page)

    async def create(
        self,
        domain: str,
        number: str,
        *,
        application: str = "available",
        dest: str = "",
        carrier: str | None = None,
    ) -> dict[str, Any]:
        """Makes a number an SMS number. Raises Conflict when it is one."""
        if application not in SMS_APPLICATIONS:
            raise InvalidInput("application", f"must be one of {', '.join(SMS_APPLICATIONS)}")
        fields = {"number": inputs.check_number("number", number), "application": application, "dest": dest}
        if carrier is not None:
            fields["carrier"] = carrier
        return await self._create(join("domains", domain, "smsnumbers"), fields, synchronous=None)

    async def update(self, domain: str, number: str, fields: Fields) -> dict[str, Any]:
        """Changes the given fields."""
        return await self._update(join("domains", domain, "smsnumbers", number), fields)

    async def delete(self, domain: str, number: str) -> dict[str, Any]:
        """The number sends and receives no SMS any more."""
        return await self._delete(join("domains", domain, "smsnumbers", number))

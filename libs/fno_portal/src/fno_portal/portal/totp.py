"""One-time codes (RFC 6238) of portals that ask for a second factor."""

from __future__ import annotations

import binascii

import pyotp

from fno_portal.errors import FNOConfigError

_SHORTEST = 16


class TotpSeed:
    """A base32 seed, or an otpauth:// address. Its text never shows it."""

    def __init__(self, seed: str, *, fno: str | None = None) -> None:
        """Check the seed.

        Raises:
            FNOConfigError: it is not base32, or too short to be one. The message does not repeat it.
        """
        try:
            self._totp = self._parse(seed.strip())
            self._totp.now()
        except (ValueError, binascii.Error, TypeError, AttributeError):
            raise FNOConfigError(
                "the TOTP seed is malformed",
                fno=fno,
                hint="Give the base32 key that the portal shows beside its QR code, or the otpauth:// address",
            ) from None

    @staticmethod
    def _parse(seed: str) -> pyotp.TOTP:
        if seed.startswith("otpauth://"):
            parsed = pyotp.parse_uri(seed)
            if not isinstance(parsed, pyotp.TOTP):
                raise ValueError
            return parsed
        cleaned = seed.replace(" ", "").replace("-", "").upper()
        if len(cleaned) < _SHORTEST:
            raise ValueError
        return pyotp.TOTP(cleaned)

    def now(self) -> str:
        """The code of this half minute."""
        return self._totp.now()

    def __repr__(self) -> str:
        """Without the seed."""
        return "TotpSeed(…)"

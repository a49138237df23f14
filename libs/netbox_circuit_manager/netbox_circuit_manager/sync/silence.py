"""When to stop asking a carrier that no longer answers."""

from ..providers.errors import AuthenticationError, ProviderError, ProviderUnavailable, RateLimited

# So many rows in a row without an answer, each after its retries, are no accident.
LONGEST = 20
UNANSWERED = (AuthenticationError, ProviderUnavailable, RateLimited)


class Silence:
    """Counts requests for single rows that failed one after the other.

    A list of ten thousand rows would otherwise be asked for to its end, with all the retries, while the carrier is down
    or has withdrawn the credentials.
    """

    def __init__(self) -> None:
        self._failed = 0

    def answered(self) -> None:
        """The carrier answered for a row."""
        self._failed = 0

    def failed(self, error: ProviderError) -> None:
        """A row failed. Raises `ProviderUnavailable` when the carrier has not answered for too many in a row."""
        if not isinstance(error, UNANSWERED):
            return
        self._failed += 1
        if self._failed >= LONGEST:
            raise ProviderUnavailable(
                f"The run was ended after {LONGEST} circuits in a row without an answer. The last reason: {error}"
            ) from error

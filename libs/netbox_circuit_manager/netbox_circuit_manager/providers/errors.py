"""What can go wrong between a carrier and NetBox, by kind. No message carries a credential, a query or a body."""


class ProviderError(Exception):
    """A carrier could not be asked, or its answer cannot be used. The message is written for the operator."""

    code = "provider_error"


class ConfigurationError(ProviderError):
    """The configuration cannot work: the endpoint, the credentials, the provider type or the field mapping."""

    code = "configuration"


class AuthenticationError(ProviderError):
    """The carrier refused the credentials."""

    code = "authentication"


class ProviderUnavailable(ProviderError):
    """The carrier did not answer, or answered with a server error, after every retry."""

    code = "unavailable"


class RateLimited(ProviderUnavailable):
    """The carrier asked to wait (429) for longer than the retries allow."""

    code = "rate_limited"


class BadAnswer(ProviderError):
    """The carrier's answer is not what its API promises: no JSON, a missing key, a refused request."""

    code = "bad_answer"


class IncompleteList(BadAnswer):
    """A list ended before the number of rows that the carrier announced."""

    code = "incomplete_list"


class HeldForReview(ProviderError):
    """The list is empty or shrank by more than a fifth: nothing is written until a person accepts it."""

    code = "held"


class AlreadyRunning(ProviderError):
    """Another run of the same configuration has not ended."""

    code = "already_running"


class RowRefused(ProviderError):
    """One row of an answer cannot be used; it is reported and never written.

    Args:
        reason: what is wrong, for the operator.
        field: the field at fault, empty when it is the row as a whole.
    """

    code = "row_refused"

    def __init__(self, reason: str, field: str = "") -> None:
        super().__init__(f"{field}: {reason}" if field else reason)
        self.field = field

"""AT&T: MEF LSO Sonata behind OAuth 2.0 client credentials.

Public: AT&T offers wholesale Ethernet through MEF LSO Sonata and its API Marketplace gives OAuth tokens for client
credentials. Not public: the host, the exact token path and what AT&T puts into a product's configuration; they come
with the contract and are set as parameters. A provider registered under the name `att` replaces this one.
"""

from typing import ClassVar

from .registry import provider_registry
from .sonata import SonataProviderSync


class ATTProviderSync(SonataProviderSync):
    """AT&T's Sonata; the credentials travel in the token request's body."""

    provider_name = "att"
    label = "AT&T"
    token_path: ClassVar[str] = "/oauth/token"  # noqa: S105 - a path
    client_auth: ClassVar[str] = "body"


provider_registry.register("att", ATTProviderSync)

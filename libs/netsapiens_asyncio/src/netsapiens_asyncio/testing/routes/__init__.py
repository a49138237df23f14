"""The routes of the fake, by subject. Importing them registers them."""

from netsapiens_asyncio.testing.routes import directory, messaging, traffic

__all__ = ["directory", "messaging", "traffic"]

"""Which provider types there are: those shipped here, those registered at run time, those of installed packages."""

import logging
from importlib.metadata import EntryPoint, entry_points
from threading import RLock

logger = logging.getLogger("netbox.plugins.netbox_circuit_manager.providers")

ENTRY_POINT_GROUP = "netbox_circuit_manager.providers"


class ProviderRegistry:
    """Provider classes by name.

    Any class that takes a configuration is accepted; it need not extend `BaseProviderSync`. A package registers one
    by an entry point in the group `netbox_circuit_manager.providers`, whose name is the provider type.
    """

    def __init__(self) -> None:
        self._providers: dict[str, type] = {}
        self._pending: dict[str, EntryPoint] | None = None
        self._lock = RLock()

    def register(self, name: str, provider_class: type) -> None:
        """Adds a provider type; a name registered again is overridden, with a warning in the log."""
        if not name or not callable(provider_class):
            raise TypeError("register(name, provider_class) needs a name and a class")
        with self._lock:
            known = self._providers.get(name)
            if known is not None and known is not provider_class:
                logger.warning("Provider type %s: %s overrides %s", name, _path(provider_class), _path(known))
            self._providers[name] = provider_class

    def get(self, name: str) -> type | None:
        """The class registered under the name, None when there is none."""
        with self._lock:
            if name not in self._providers:
                self._load(name)
            return self._providers.get(name)

    def get_all(self) -> dict[str, type]:
        """Every provider type, a copy."""
        with self._lock:
            for name in list(self._entry_points()):
                self._load(name)
            return dict(self._providers)

    def names(self) -> list[str]:
        """Every name, sorted, without importing the packages that bring them."""
        with self._lock:
            return sorted({*self._providers, *self._entry_points()})

    def unregister(self, name: str) -> None:
        """Removes a provider type; an unknown name is no error."""
        with self._lock:
            self._entry_points().pop(name, None)
            self._providers.pop(name, None)

    def _entry_points(self) -> dict[str, EntryPoint]:
        if self._pending is None:
            self._pending = {point.name: point for point in entry_points(group=ENTRY_POINT_GROUP)}
        return self._pending

    def _load(self, name: str) -> None:
        point = self._entry_points().pop(name, None)
        if point is None or name in self._providers:
            return
        try:
            self.register(name, point.load())
        except (ImportError, AttributeError, TypeError) as error:
            # One broken package must not take the other providers with it.
            logger.error("Provider type %s of %s cannot be loaded: %s", name, point.value, error)  # noqa: TRY400


def _path(provider_class: type) -> str:
    return f"{provider_class.__module__}.{provider_class.__qualname__}"


provider_registry = ProviderRegistry()

"""A carrier's whole list, read to its end before anything is written, without holding it in memory."""

import hashlib
import json
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from decimal import Decimal, InvalidOperation
from typing import Any, Self

from ..providers.errors import HeldForReview
from ..providers.paging import Row

IN_MEMORY_BYTES = 1024 * 1024
DECIMAL = "$decimal"
# A list shorter than this part of the last one waits for a person.
SMALLEST_SHARE = Decimal("0.8")


class Listing:
    """The rows of a list in a temporary file, with what is known of all of them: how many, and which keys repeat.

    A row that comes twice word for word is one row (pages may overlap while a list grows); a key that comes twice with
    different rows names two things, and both are refused. So are rows of different keys with one name.
    """

    def __init__(self, identify: Callable[[Row], str], name: Callable[[Row], str] | None = None) -> None:
        self._identify = identify
        self._name = name
        self._file = tempfile.SpooledTemporaryFile(max_size=IN_MEMORY_BYTES, mode="w+", encoding="utf-8")  # noqa: SIM115
        self._digests: dict[str, bytes] = {}
        self._owners: dict[str, str] = {}
        self.repeated: set[str] = set()
        self.shared: set[str] = set()
        self.count = 0
        self.without_key = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self._file.close()

    @property
    def keys(self) -> Iterable[str]:
        """Every key of the list."""
        return self._digests.keys()

    def read(self, pages: Iterable[list[Row]]) -> "Listing":
        """Reads every page. Raises what the carrier's answers raise; nothing was written then."""
        for page in pages:
            for row in page:
                self.add(row)
        return self

    def add(self, row: Row) -> None:
        """Keeps one row."""
        text = json.dumps(row, default=_pack)
        key = self._identify(row) if isinstance(row, dict) else ""
        if key:
            digest = hashlib.blake2b(text.encode(), digest_size=8).digest()
            known = self._digests.get(key)
            if known == digest:
                return
            if known is not None:
                self.repeated.add(key)
            self._digests[key] = digest
            self._own(row, key)
        else:
            self.without_key += 1
        self.count += 1
        self._file.write(f"{text}\n")

    def _own(self, row: Row, key: str) -> None:
        name = self._name(row) if self._name else ""
        if name and self._owners.setdefault(name, key) != key:
            self.shared.add(name)

    def batches(self, size: int) -> Iterator[list[Any]]:
        """The rows again, some at a time."""
        self._file.seek(0)
        batch: list[Any] = []
        for line in self._file:
            batch.append(json.loads(line, object_hook=_unpack))
            if len(batch) == size:
                yield batch
                batch = []
        if batch:
            yield batch

    def check_size(self, previous: int | None) -> None:
        """Raises `HeldForReview` when the list is empty, or shrank by more than a fifth since the last full run."""
        if self.count == 0:
            raise HeldForReview(
                "The carrier listed no circuits. Nothing was changed; accept it if that is right"
            )
        if previous and self.count < previous * SMALLEST_SHARE:
            raise HeldForReview(
                f"The carrier listed {self.count} circuits, {previous} the last time: more than a fifth is missing. "
                "Nothing was changed; accept it if that is right"
            )


def _pack(value: Any) -> Any:
    """Fractions stay exact on their way through the file."""
    return {DECIMAL: str(value)} if isinstance(value, Decimal) else str(value)


def _unpack(value: dict[str, Any]) -> Any:
    if value.keys() == {DECIMAL}:
        with suppress(InvalidOperation, TypeError, ValueError):
            return Decimal(value[DECIMAL])
    return value

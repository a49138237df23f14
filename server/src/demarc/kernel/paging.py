"""Windows over a list."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")

LIMIT_DEFAULT = 100
LIMIT_MAX = 500


@dataclass(frozen=True, slots=True)
class Window:
    """`limit` rows after `skip`, in the list's stable order."""

    skip: int = 0
    limit: int = LIMIT_DEFAULT


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """The rows of a window, and how many there are in all."""

    rows: list[T]
    total: int
    window: Window

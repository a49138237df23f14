"""The spool directory as the ingester sees it: files that FreeRADIUS appends to, one per kind and hour."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from pathlib import Path

from demarc.modules.access.accounting import LONGEST_LINE

BLOCK_OCTETS = 4 * 1024 * 1024
"""The most that one transaction loads."""


class SpoolKind(StrEnum):
    """Prefix of the file name; the rest is the hour, `%Y%m%d%H`, so that names sort by time."""

    ACCOUNTING = "acct"
    LOGIN = "auth"


_PREFIXES = frozenset(kind.value for kind in SpoolKind)


@dataclass(frozen=True, slots=True)
class SpoolFile:
    """One file as it stands now. `inode` tells a replaced file from a grown one."""

    path: Path
    kind: SpoolKind
    inode: int
    size: int
    modified_at: float

    @property
    def name(self) -> str:
        return self.path.name


@dataclass(frozen=True, slots=True)
class Block:
    """Whole lines of a file, from octet `base` on; on disk before they are handed out."""

    file: SpoolFile
    base: int
    data: bytes

    @property
    def end(self) -> int:
        return self.base + len(self.data)

    @property
    def lines(self) -> int:
        return self.data.count(b"\n")

    def halves(self) -> tuple[Block, Block]:
        """Two blocks of whole lines; the block must have at least two."""
        cut = self.data.rfind(b"\n", 0, len(self.data) // 2) + 1 or self.data.index(b"\n") + 1
        return Block(self.file, self.base, self.data[:cut]), Block(
            self.file, self.base + cut, self.data[cut:]
        )


def list_files(directory: Path) -> list[SpoolFile]:
    """The spool's files, oldest hour first; a directory that does not exist yet has none."""
    try:
        entries = sorted(os.scandir(directory), key=lambda entry: entry.name.partition("-")[::-1])
    except FileNotFoundError:
        return []
    return list(_known(entries))


def _known(entries: list[os.DirEntry[str]]) -> Iterator[SpoolFile]:
    for entry in entries:
        prefix, dash, hour = entry.name.partition("-")
        if dash and hour.isdigit() and prefix in _PREFIXES:
            state = entry.stat()
            yield SpoolFile(Path(entry.path), SpoolKind(prefix), state.st_ino, state.st_size, state.st_mtime)


def read_block(file: SpoolFile, position: int, limit: int = BLOCK_OCTETS) -> Block | None:
    """The next whole lines from `position`, synced to disk first; None while no line is complete.

    The database must not know more than the disk: after a power cut the file would be shorter than its offset,
    and lines written there later would never be read.
    """
    with file.path.open("rb") as spool:
        spool.seek(position)
        data = spool.read(limit)
        whole = data[: data.rfind(b"\n") + 1] or _endless(data)
        if whole:
            os.fdatasync(spool.fileno())
    return Block(file, position, whole) if whole else None


def _endless(data: bytes) -> bytes:
    """Octets that never end in a newline are no line: past any line's length they are taken as one, to be rejected."""
    return data[:-1] + b"\n" if len(data) > 4 * LONGEST_LINE else b""


def is_finished(file: SpoolFile, *, now: datetime, retention_seconds: float) -> bool:
    """Whether FreeRADIUS writes to this file no more and nobody needs it for looking back."""
    hour = file.name.partition("-")[2]
    return hour < now.strftime("%Y%m%d%H") and file.modified_at < now.timestamp() - 3600 - retention_seconds

"""Where a private cluster lives on disk, so that the server's user can reach it and its socket's name fits."""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
import shutil
import stat
from dataclasses import dataclass
from pathlib import Path

from demarc.adapters.processes.service_user import STATE_DIR, ServiceUser
from demarc.kernel.errors import Misconfigured

SOCKET_PORT = 5432
"""Names the socket file `.s.PGSQL.<port>` when there is no TCP port."""

_SHARED_SOCKETS = Path("/run/demarc")
_SOCKET_PATH_BYTES = 107  # sun_path of unix(7) less its closing zero


@dataclass(frozen=True, slots=True)
class Home:
    """`root` holds `data` (PGDATA), `run` (sockets), `log` and `lock`; all of it belongs to the server's user."""

    root: Path
    sockets: Path

    @property
    def data(self) -> Path:
        return self.root / "data"

    @property
    def log(self) -> Path:
        return self.root / "log" / "postgres.log"

    @property
    def custom(self) -> Path:
        """The operator's own settings; read after ours."""
        return self.root / "custom.conf"


def prepare_home(data_dir: Path, user: ServiceUser | None, port: int) -> Home:
    """`<data_dir>/postgres`; a link to /var/lib/demarc/clusters/<random> when `user` cannot reach `data_dir`.

    Raises:
        Misconfigured: the directory cannot be made or is not `user`'s to use.
    """
    place = data_dir.absolute() / "postgres"
    try:
        root = _ensure_root(place, user)
        home = Home(root, _socket_dir(root, user, port))
        for folder in (home.root, home.log.parent, home.sockets):
            _own_dir(folder, user)
    except OSError as error:
        raise Misconfigured(
            f"Cannot use {place} for the database: {error.strerror or error}. "
            f"Give its owner the right to write there, or set DEMARC_DATA_DIR to another directory."
        ) from error
    if user is not None and not user.may("x", home.root):
        raise Misconfigured(
            f"The user {user.name!r} cannot reach {home.root}. Open the directories above it to that user "
            f"(`chmod o+x …`) or set DEMARC_DATA_DIR to another directory."
        )
    return home


def remove_home(data_dir: Path) -> None:
    """Delete the cluster, wherever it lies. For `make clean` and tests."""
    place = data_dir.absolute() / "postgres"
    for parent in (_SHARED_SOCKETS, _own_sockets()):
        shutil.rmtree(parent / _short_name(place.resolve()), ignore_errors=True)
    with contextlib.suppress(FileNotFoundError):
        shutil.rmtree(place.resolve(strict=True))
    if place.is_symlink():
        place.unlink()


def _ensure_root(place: Path, user: ServiceUser | None) -> Path:
    if not place.parent.exists():
        place.parent.mkdir(mode=0o700 if user is None else 0o711, parents=True)
    if place.is_symlink() and not place.exists():
        raise Misconfigured(
            f"{place} points to {place.readlink()}, which is gone. Restore it from a backup, or remove the link "
            f"to start with an empty database."
        )
    if not place.exists():
        if user is None or user.may("x", place.parent):
            place.mkdir(mode=0o700)
        else:
            _link_elsewhere(place)
    return place.resolve()


def _link_elsewhere(place: Path) -> None:
    """The link is made last: a cluster is either found through it or was never used."""
    root = STATE_DIR / "clusters" / secrets.token_hex(8)
    root.mkdir(mode=0o700, parents=True)
    (root / "OWNER").write_text(f"{place}\n")
    for folder in (STATE_DIR, root.parent):
        folder.chmod(0o755)
    place.symlink_to(root)


def _own_dir(folder: Path, user: ServiceUser | None) -> None:
    folder.mkdir(mode=0o700, exist_ok=True)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode):
        raise Misconfigured(f"{folder} is a link; the database needs a directory of its own there.")
    if user is not None and found.st_uid != user.uid:
        os.chown(folder, user.uid, user.gid)
    if stat.S_IMODE(found.st_mode) != 0o700:  # noqa: PLR2004
        folder.chmod(0o700)


def _socket_dir(root: Path, user: ServiceUser | None, port: int) -> Path:
    near = root / "run"
    longest = near / f".s.PGSQL.{port or SOCKET_PORT}.lock"
    return near if len(os.fsencode(longest)) <= _SOCKET_PATH_BYTES else _short_socket_dir(root, user)


def _short_socket_dir(root: Path, user: ServiceUser | None) -> Path:
    parent = _SHARED_SOCKETS if user is not None else _own_sockets()
    parent.mkdir(mode=0o711 if user is not None else 0o700, exist_ok=True)
    found = parent.lstat()
    # /tmp is everybody's: a directory somebody else prepared would let him answer in the server's place.
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
        raise Misconfigured(
            f"{parent} belongs to somebody else. Remove it, or choose a shorter DEMARC_DATA_DIR."
        )
    return parent / _short_name(root)


def _own_sockets() -> Path:
    return Path(f"/tmp/demarc-{os.geteuid()}")  # noqa: S108  # checked to be ours before use


def _short_name(root: Path) -> str:
    return hashlib.sha256(os.fsencode(root)).hexdigest()[:12]

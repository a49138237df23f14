"""Where contract and path files lie: with NetBox's media, but never handed out by its media address."""

import posixpath
import secrets
from typing import Any

from django.conf import settings
from django.core.files.storage import FileSystemStorage, Storage, storages
from django.utils.deconstruct import deconstructible
from django.utils.text import get_valid_filename

ALIAS = "netbox_circuit_manager"
FOLDER = "circuit_manager"


def private_storage() -> Storage:
    """The storage named `netbox_circuit_manager` in NetBox's STORAGES, else a folder in the media folder.

    The folder's address is closed by `UploadedFilesMiddleware`; files go out through views that check permissions.
    """
    if ALIAS in settings.STORAGES:
        return storages[ALIAS]
    return FileSystemStorage(location=settings.MEDIA_ROOT, base_url=None)


@deconstructible
class UploadPath:
    """`circuit_manager/<kind>/<random>/<name>`: names cannot be guessed, and never meet."""

    def __init__(self, kind: str) -> None:
        self.kind = kind

    def __call__(self, _instance: Any, filename: str) -> str:
        # Room for the folder in the column's 255 characters; the end of a name has its extension.
        name = get_valid_filename(posixpath.basename(filename))[-100:]
        return f"{FOLDER}/{self.kind}/{secrets.token_hex(16)}/{name}"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, UploadPath) and other.kind == self.kind

    def __hash__(self) -> int:
        return hash(self.kind)

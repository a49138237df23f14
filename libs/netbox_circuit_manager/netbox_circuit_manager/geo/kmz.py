"""KMZ: a zip archive around a KML. Only the one KML is read, and never more of it than allowed."""

import io
import zipfile
import zlib
from pathlib import Path
from typing import Any, BinaryIO

from .errors import PathFileError
from .geojson import GeoJSON, read_geojson_text
from .kml import read_kml
from .limits import MAX_ARCHIVE_ENTRIES, MAX_FILE_BYTES, MAX_KML_BYTES

ZIP_MAGIC = b"PK\x03\x04"


def read_path_file(file: Any) -> GeoJSON:
    """A KMZ, KML or GeoJSON file, told apart by its content. Raises `PathFileError`."""
    data = read_bounded(file)
    if data.startswith(ZIP_MAGIC):
        return _read_archive(data)
    if data.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"{"):
        return read_geojson_text(data)
    return read_kml(data)


def read_kmz(file: Any) -> GeoJSON:
    """The KML inside a KMZ, or a plain KML under that name. Raises `PathFileError`."""
    data = read_bounded(file)
    return _read_archive(data) if data.startswith(ZIP_MAGIC) else read_kml(data)


def read_bounded(file: Any) -> bytes:
    """The bytes of a path, bytes or an open file (Django's included). Raises `PathFileError` past the limit."""
    if isinstance(file, bytes):
        data = file
    elif isinstance(file, (str, Path)):
        with Path(file).open("rb") as opened:
            data = opened.read(MAX_FILE_BYTES + 1)
    else:
        data = _read_open(file)
    if len(data) > MAX_FILE_BYTES:
        raise PathFileError(f"The file is larger than {MAX_FILE_BYTES // 2**20} MB")
    if not data:
        raise PathFileError("The file is empty")
    return data


def _read_open(file: BinaryIO) -> bytes:
    if hasattr(file, "seek"):
        file.seek(0)
    data = file.read(MAX_FILE_BYTES + 1)
    if hasattr(file, "seek"):
        file.seek(0)
    return data


def _read_archive(data: bytes) -> GeoJSON:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            return read_kml(_read_entry(archive, _choose_entry(archive)))
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, OSError) as error:
        raise PathFileError("The KMZ is damaged: it is not a readable zip archive") from error


def _choose_entry(archive: zipfile.ZipFile) -> zipfile.ZipInfo:
    entries = archive.infolist()
    if len(entries) > MAX_ARCHIVE_ENTRIES:
        raise PathFileError(f"The KMZ has more than {MAX_ARCHIVE_ENTRIES:,} entries")
    documents = [entry for entry in entries if entry.filename.lower().endswith(".kml")]
    if not documents:
        raise PathFileError("The KMZ has no KML inside")
    # The first KML in the archive is the document, by convention doc.kml.
    return next((entry for entry in documents if entry.filename.lower() == "doc.kml"), documents[0])


def _read_entry(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> bytes:
    if entry.flag_bits & 0x1:
        raise PathFileError("The KMZ is encrypted")
    with archive.open(entry) as opened:
        # What the archive says of its size may be a lie; what is read may not.
        document = opened.read(MAX_KML_BYTES + 1)
    if len(document) > MAX_KML_BYTES:
        raise PathFileError(f"The KML inside unpacks to more than {MAX_KML_BYTES // 2**20} MB")
    return document

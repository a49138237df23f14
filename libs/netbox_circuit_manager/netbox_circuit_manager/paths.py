"""A circuit's path from the file or the GeoJSON that a person gives."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

from django.core.exceptions import ValidationError
from django.utils.translation import gettext as _

from . import geo
from .utils import calculate_path_distance, extract_coordinates, parse_kmz_file

if TYPE_CHECKING:
    from .models import CircuitPath

_METRE = Decimal("0.001")
_MICRODEGREE = Decimal("0.000001")


def read_path(path: CircuitPath) -> None:
    """Sets GeoJSON from a fresh upload, then what follows from it: length and middle, where they are not given.

    Raises `ValidationError` on the field that holds what cannot be used.
    """
    drawn = path.geojson_data
    upload = path.kmz_file if path.kmz_file and not getattr(path.kmz_file, "_committed", True) else None
    # Forms validate and then save one object; the file is read once.
    if upload is not None and getattr(path, "upload_read", None) is not upload.file:
        upload.seek(0)
        path.geojson_data = _checked("kmz_file", lambda: parse_kmz_file(upload))
        path.upload_read = upload.file
        # Length and middle belonged to the former drawing.
        path.path_distance_km = path.map_center_lat = path.map_center_lon = None
    elif drawn:
        path.geojson_data = _checked("geojson_data", lambda: geo.read_geojson(drawn))
    if path.geojson_data:
        _derive(path, path.geojson_data)


def _derive(path: CircuitPath, geojson: dict[str, Any]) -> None:
    if path.path_distance_km is None:
        path.path_distance_km = Decimal(str(calculate_path_distance(geojson))).quantize(_METRE)
    positions = extract_coordinates(geojson)
    if positions and path.map_center_lat is None and path.map_center_lon is None:
        longitudes, latitudes = [lon for lon, _lat in positions], [lat for _lon, lat in positions]
        path.map_center_lon = _middle(longitudes)
        path.map_center_lat = _middle(latitudes)


def _middle(values: list[float]) -> Decimal:
    return Decimal(str((min(values) + max(values)) / 2)).quantize(_MICRODEGREE)


def _checked(field: str, read: Any) -> dict[str, Any]:
    try:
        return read()
    except geo.PathFileError as error:
        raise ValidationError({field: _("This path cannot be used: %(why)s") % {"why": error}}) from error

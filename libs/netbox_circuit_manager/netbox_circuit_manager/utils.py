"""The functions for paths under the names that users of the plugin know; the code lives in `geo`."""

from collections.abc import Iterable, Mapping
from typing import Any

from . import geo
from .geo import PathFileError

__all__ = [
    "PathFileError",
    "calculate_path_distance",
    "extract_coordinates",
    "generate_folium_map",
    "parse_kml_data",
    "parse_kmz_file",
]


def parse_kmz_file(kmz_file: Any) -> dict[str, Any]:
    """A GeoJSON FeatureCollection of a KMZ (or plain KML): a path, bytes or an open file. Raises `PathFileError`."""
    return geo.read_kmz(kmz_file)


def parse_kml_data(kml_data: str | bytes) -> dict[str, Any]:
    """A GeoJSON FeatureCollection of a KML document. Raises `PathFileError`."""
    return geo.read_kml(kml_data)


def extract_coordinates(geojson_data: Mapping[str, Any]) -> list[tuple[float, float]]:
    """Every position of a GeoJSON object in its order, as (longitude, latitude). Raises `PathFileError`."""
    return geo.positions(geo.read_geojson(geojson_data))


def calculate_path_distance(geojson_data: Mapping[str, Any] | Iterable[tuple[float, float]]) -> float:
    """The length on the ground in kilometres, of a GeoJSON object's lines or of a list of (longitude, latitude)."""
    return geo.path_kilometres(geojson_data)


def generate_folium_map(
    geojson_data: Mapping[str, Any],
    center_lat: float | None = None,
    center_lon: float | None = None,
    zoom: int | None = None,
) -> str:
    """An HTML page that shows the path, without outside tiles or scripts; every text in it is escaped.

    The name is kept for those who call it; the drawing needs no folium. Raises `PathFileError`.
    """
    center = (
        (float(center_lon), float(center_lat)) if center_lat is not None and center_lon is not None else None
    )
    return geo.draw_page(geojson_data, center=center, zoom=zoom)

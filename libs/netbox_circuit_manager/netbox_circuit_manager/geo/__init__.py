"""Paths on the ground: reading KMZ, KML and GeoJSON safely, measuring, drawing, exporting."""

from .distance import path_kilometres
from .drawing import draw_page, draw_svg
from .errors import PathFileError
from .export import to_geojson_text, to_kml
from .geojson import positions, read_geojson, read_geojson_text
from .kml import read_kml
from .kmz import read_kmz, read_path_file

__all__ = [
    "PathFileError",
    "draw_page",
    "draw_svg",
    "path_kilometres",
    "positions",
    "read_geojson",
    "read_geojson_text",
    "read_kml",
    "read_kmz",
    "read_path_file",
    "to_geojson_text",
    "to_kml",
]

"""Paths as files for other programs."""

import json
from collections.abc import Mapping
from typing import Any
from xml.sax.saxutils import escape

from .geojson import read_geojson


def to_geojson_text(document: Mapping[str, Any]) -> str:
    """A checked FeatureCollection as text. Raises `PathFileError`."""
    return json.dumps(read_geojson(document), ensure_ascii=False, indent=2)


def to_kml(document: Mapping[str, Any], name: str = "") -> str:
    """A KML 2.2 document of a GeoJSON object. Raises `PathFileError`."""
    placemarks = "".join(_placemark(feature) for feature in read_geojson(document)["features"])
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n<kml xmlns="http://www.opengis.net/kml/2.2"><Document>'
        f"<name>{_xml(name)}</name>{placemarks}</Document></kml>\n"
    )


def _placemark(feature: Mapping[str, Any]) -> str:
    texts = "".join(f"<{key}>{_xml(value)}</{key}>" for key, value in feature["properties"].items())
    geometry = feature["geometry"]
    return f"<Placemark>{texts}{_geometry(geometry['type'], geometry['coordinates'])}</Placemark>"


def _geometry(kind: str, coordinates: Any) -> str:
    if kind.startswith("Multi"):
        parts = "".join(_geometry(kind.removeprefix("Multi"), part) for part in coordinates)
        return f"<MultiGeometry>{parts}</MultiGeometry>"
    if kind == "Polygon":
        outer, *inner = (f"<LinearRing>{_coordinates(ring)}</LinearRing>" for ring in coordinates)
        holes = "".join(f"<innerBoundaryIs>{ring}</innerBoundaryIs>" for ring in inner)
        return f"<Polygon><outerBoundaryIs>{outer}</outerBoundaryIs>{holes}</Polygon>"
    return f"<{kind}>{_coordinates([coordinates] if kind == 'Point' else coordinates)}</{kind}>"


def _coordinates(positions: Any) -> str:
    text = " ".join(f"{longitude!r},{latitude!r}" for longitude, latitude in positions)
    return f"<coordinates>{text}</coordinates>"


def _xml(text: str) -> str:
    """Escaped, without the control characters that XML cannot carry."""
    return escape("".join(character for character in text if character >= " " or character in "\t\n"))

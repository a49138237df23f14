"""KML 2.x, and Google's tracks: Placemarks with points, lines and polygons become GeoJSON features.

Read as a stream with defusedxml: no document type, no entities, no outside references; depth and size are bounded.
Network links are not followed.
"""

import io
from collections.abc import Iterator
from typing import Any
from xml.etree.ElementTree import Element, ParseError

from defusedxml import DefusedXmlException
from defusedxml.ElementTree import iterparse

from .errors import PathFileError
from .geojson import GeoJSON, read_geojson
from .limits import MAX_DEPTH, MAX_ELEMENTS, MAX_FEATURES, MAX_KML_BYTES, MAX_TEXT

GEOMETRIES = ("Point", "LineString", "LinearRing", "Polygon", "Track", "MultiGeometry", "MultiTrack")


def read_kml(content: str | bytes) -> GeoJSON:
    """A checked FeatureCollection of a KML document. Raises `PathFileError`."""
    data = content.encode() if isinstance(content, str) else content
    if len(data) > MAX_KML_BYTES:
        raise PathFileError(f"The KML is larger than {MAX_KML_BYTES // 2**20} MB")
    try:
        features = list(_placemarks(data))
    except DefusedXmlException as error:
        raise PathFileError("The KML declares a document type or entities, which is refused") from error
    except (ParseError, LookupError, ValueError) as error:
        if isinstance(error, PathFileError):
            raise
        raise PathFileError("The KML is not well-formed XML") from error
    if not features:
        raise PathFileError("The KML has no placemark with a point, a line or a polygon")
    return read_geojson({"type": "FeatureCollection", "features": features})


def _placemarks(data: bytes) -> Iterator[GeoJSON]:
    depth = elements = features = 0
    for event, element in iterparse(io.BytesIO(data), events=("start", "end"), forbid_dtd=True):
        if event == "start":
            depth, elements = depth + 1, elements + 1
            if depth > MAX_DEPTH:
                raise PathFileError("The KML is nested too deeply")
            if elements > MAX_ELEMENTS:
                raise PathFileError(f"The KML has more than {MAX_ELEMENTS:,} elements")
            continue
        depth -= 1
        if _tag(element) == "Placemark":
            for feature in _features(element):
                features += 1
                if features > MAX_FEATURES:
                    raise PathFileError(f"The KML has more than {MAX_FEATURES:,} geometries")
                yield feature
        if _tag(element) in ("Placemark", "Style", "StyleMap", "Schema", "NetworkLink", "GroundOverlay"):
            element.clear()


def _features(placemark: Element) -> Iterator[GeoJSON]:
    properties = {
        name: text[:MAX_TEXT] for name in ("name", "description") if (text := _text(_child(placemark, name)))
    }
    for geometry in _geometries(placemark):
        yield {"type": "Feature", "properties": properties, "geometry": geometry}


def _geometries(parent: Element) -> Iterator[dict[str, Any]]:
    for element in parent:
        tag = _tag(element)
        if tag in ("MultiGeometry", "MultiTrack"):
            yield from _geometries(element)
        elif tag == "Polygon":
            yield {"type": "Polygon", "coordinates": list(_rings(element))}
        elif tag in GEOMETRIES:
            positions = _track(element) if tag == "Track" else _coordinates(element)
            if tag == "Point":
                yield {"type": "Point", "coordinates": positions[0] if positions else None}
            elif len(positions) == 1:
                yield {"type": "Point", "coordinates": positions[0]}
            elif positions:
                yield {"type": "LineString", "coordinates": positions}


def _rings(polygon: Element) -> Iterator[list[list[float]]]:
    for boundary in polygon:
        if _tag(boundary) in ("outerBoundaryIs", "innerBoundaryIs"):
            for ring in boundary:
                yield _coordinates(ring)


def _coordinates(geometry: Element) -> list[list[float]]:
    """`longitude,latitude[,altitude]` tuples, separated by white space."""
    text = _text(_child(geometry, "coordinates"))
    return [_position(part.split(",")) for part in text.split()]


def _track(track: Element) -> list[list[float]]:
    return [_position(_text(element).split()) for element in track if _tag(element) == "coord"]


def _position(parts: list[str]) -> list[float]:
    try:
        return [float(parts[0]), float(parts[1])]
    except (IndexError, ValueError) as error:
        raise PathFileError(f"{','.join(parts)[:40]!r} is not a coordinate") from error


def _child(element: Element, name: str) -> Element | None:
    return next((child for child in element if _tag(child) == name), None)


def _text(element: Element | None) -> str:
    return (element.text or "").strip() if element is not None else ""


def _tag(element: Element) -> str:
    """The name without its namespace: files name KML's in half a dozen ways."""
    return element.tag.rpartition("}")[2] if isinstance(element.tag, str) else ""

"""GeoJSON (RFC 7946): checked, bounded, and reduced to what a path needs."""

import json
import math
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any

from .errors import PathFileError
from .limits import MAX_DEPTH, MAX_FEATURES, MAX_FILE_BYTES, MAX_POSITIONS, MAX_TEXT

Position = tuple[float, float]
GeoJSON = dict[str, Any]

DIMENSIONS = 2  # longitude and latitude; an altitude may follow
EASTERNMOST, NORTHERNMOST = 180, 90

# How deeply positions are nested in each geometry
LEVELS = {"Point": 0, "MultiPoint": 1, "LineString": 1, "MultiLineString": 2, "Polygon": 2, "MultiPolygon": 3}
SHORTEST = {"LineString": 2, "MultiLineString": 2, "Polygon": 4, "MultiPolygon": 4}


class _Budget:
    """Counts positions over a whole document."""

    def __init__(self) -> None:
        self.left = MAX_POSITIONS

    def take(self) -> None:
        self.left -= 1
        if self.left < 0:
            raise PathFileError(f"The path has more than {MAX_POSITIONS:,} points")


def read_geojson_text(text: str | bytes) -> GeoJSON:
    """A checked FeatureCollection of a GeoJSON text. Raises `PathFileError`."""
    if len(text) > MAX_FILE_BYTES:
        raise PathFileError(f"The GeoJSON is larger than {MAX_FILE_BYTES // 2**20} MB")
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise PathFileError("The file is not JSON") from error
    return read_geojson(document)


def read_geojson(document: Any) -> GeoJSON:
    """A checked FeatureCollection of a decoded GeoJSON object: names, geometries, nothing else.

    Positions are (longitude, latitude) in degrees; an altitude is dropped. Raises `PathFileError`.
    """
    budget = _Budget()
    features = []
    for feature in _features(document, 0):
        features.append(feature)
        if len(features) > MAX_FEATURES:
            raise PathFileError(f"The path has more than {MAX_FEATURES:,} features")
    checked = [
        _check_feature(name, description, geometry, budget) for name, description, geometry in features
    ]
    if not checked:
        raise PathFileError("The GeoJSON has no feature with a geometry")
    return {"type": "FeatureCollection", "features": checked}


def positions(document: Mapping[str, Any]) -> list[Position]:
    """Every position of a GeoJSON object in its order, as (longitude, latitude)."""
    return [position for line in lines(document, every_geometry=True) for position in line]


def lines(document: Mapping[str, Any], *, every_geometry: bool = False) -> Iterator[list[Position]]:
    """The lines of a GeoJSON object; a polygon gives its rings. With `every_geometry`, points too."""
    for _name, _description, geometry in _features(document, 0):
        kind = geometry.get("type")
        if LEVELS.get(str(kind)) is None or (kind in ("Point", "MultiPoint") and not every_geometry):
            continue
        yield from _flatten(geometry.get("coordinates"), LEVELS[str(kind)])


def _flatten(coordinates: Any, level: int) -> Iterator[list[Position]]:
    if level == 0:
        yield [(float(coordinates[0]), float(coordinates[1]))]
    elif level == 1:
        yield [(float(position[0]), float(position[1])) for position in coordinates]
    else:
        for part in coordinates:
            yield from _flatten(part, level - 1)


def _features(document: Any, depth: int) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    """Name, description and geometry of each feature of whatever kind of GeoJSON object it is."""
    if depth > MAX_DEPTH:
        raise PathFileError("The GeoJSON is nested too deeply")
    if not isinstance(document, Mapping):
        raise PathFileError("This is not a GeoJSON object")
    kind = document.get("type")
    if kind in ("FeatureCollection", "GeometryCollection"):
        parts = document.get("features" if kind == "FeatureCollection" else "geometries")
        if not isinstance(parts, list):
            raise PathFileError(f"The {kind} has no list of parts")
        for part in parts:
            yield from _features(part, depth + 1)
    elif kind == "Feature":
        yield from _feature(document, depth)
    elif kind in LEVELS:
        yield "", "", document
    else:
        raise PathFileError(f"{str(kind)[:40]!r} is not a type of GeoJSON")


def _feature(feature: Mapping[str, Any], depth: int) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    properties = feature.get("properties")
    known = properties if isinstance(properties, Mapping) else {}
    if feature.get("geometry") is None:
        return
    for _name, _description, geometry in _features(feature["geometry"], depth + 1):
        yield (
            str(known.get("name") or "")[:MAX_TEXT],
            str(known.get("description") or "")[:MAX_TEXT],
            geometry,
        )


def _check_feature(name: str, description: str, geometry: Mapping[str, Any], budget: _Budget) -> GeoJSON:
    kind = str(geometry.get("type"))
    coordinates = _check(geometry.get("coordinates"), LEVELS[kind], SHORTEST.get(kind, 1), budget)
    properties = {key: value for key, value in (("name", name), ("description", description)) if value}
    return {
        "type": "Feature",
        "properties": properties,
        "geometry": {"type": kind, "coordinates": coordinates},
    }


def _check(coordinates: Any, level: int, shortest: int, budget: _Budget) -> Any:
    if not isinstance(coordinates, (list, tuple)):
        raise PathFileError("A geometry has no coordinates")
    if level == 0:
        return _check_position(coordinates, budget)
    if level == 1 and len(coordinates) < shortest:
        raise PathFileError(f"A line or ring has {len(coordinates)} points, it needs {shortest}")
    return [_check(part, level - 1, shortest, budget) for part in coordinates]


def _check_position(position: Any, budget: _Budget) -> list[float]:
    budget.take()
    if len(position) < DIMENSIONS or not all(_is_number(value) for value in position[:2]):
        raise PathFileError("A position is not two numbers, longitude and latitude")
    longitude, latitude = float(position[0]), float(position[1])
    if abs(longitude) > EASTERNMOST or abs(latitude) > NORTHERNMOST:
        raise PathFileError(f"({longitude:g}, {latitude:g}) is not a longitude and a latitude in degrees")
    return [longitude, latitude]


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float, Decimal)) and not isinstance(value, bool) and math.isfinite(value)

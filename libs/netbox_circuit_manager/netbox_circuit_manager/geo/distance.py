"""Lengths on the ellipsoid (WGS 84), by Karney's algorithm."""

from collections.abc import Iterable, Mapping
from itertools import pairwise
from typing import Any

from geographiclib.geodesic import Geodesic

from .geojson import Position, lines


def path_kilometres(path: Mapping[str, Any] | Iterable[Position]) -> float:
    """The length of every line of a GeoJSON object, or of one list of (longitude, latitude), in kilometres."""
    tracks = lines(path) if isinstance(path, Mapping) else [list(path)]
    return sum(_metres(start, end) for track in tracks for start, end in pairwise(track)) / 1000


def _metres(start: Position, end: Position) -> float:
    line = Geodesic.WGS84.Inverse(start[1], start[0], end[1], end[0], Geodesic.DISTANCE)
    return float(line["s12"])

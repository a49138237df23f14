"""A path as a drawing of its own: SVG without outside tiles, scripts or styles; everything from files is escaped."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from html import escape
from typing import Any

from .distance import path_kilometres
from .geojson import Position, positions, read_geojson

MARGIN = 24
# NetBox's own, light or dark as its page is; the second where the drawing stands alone.
BACKGROUND = "var(--tblr-bg-surface-secondary, #f4f6f8)"
# A file's points beyond this many per line cannot be seen at this size.
MAX_DRAWN = 4_000


@dataclass(frozen=True, slots=True)
class Frame:
    """How positions become pixels: Web Mercator, fitted into the drawing."""

    left: float
    top: float
    scale: float
    width: int
    height: int

    def place(self, position: Position) -> tuple[float, float]:
        """Pixels of a (longitude, latitude)."""
        x, y = _mercator(position)
        return (x - self.left) * self.scale, (self.top - y) * self.scale


def draw_svg(document: Mapping[str, Any], width: int = 800, height: int = 480, label: str = "") -> str:
    """The path as one SVG element, with a scale bar. Raises `PathFileError`."""
    path = read_geojson(document)
    frame = _fit(positions(path), width, height)
    shapes = "".join(_feature(feature, frame) for feature in path["features"])
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img" '
        f'aria-label="{escape(label or "Path of the circuit")}" style="max-width:100%;height:auto">'
        f'<rect width="{width}" height="{height}" style="fill:{BACKGROUND}"/>{shapes}{_scale_bar(frame, path)}</svg>'
    )


def draw_page(
    document: Mapping[str, Any], center: Position | None = None, zoom: int | None = None, label: str = ""
) -> str:
    """A whole HTML page around the drawing, for an iframe or a file."""
    view = f' data-center="{center[1]:g},{center[0]:g}"' if center else ""
    view += f' data-zoom="{int(zoom)}"' if zoom is not None else ""
    title = escape(label or "Path of the circuit")
    policy = "default-src 'none'; style-src 'unsafe-inline'"
    return (
        f'<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}"></head>'
        f"<body{view}>{draw_svg(document, label=label)}<p>{path_kilometres(document):.3f} km</p></body></html>"
    )


def _mercator(position: Position) -> tuple[float, float]:
    latitude = math.radians(max(-85.0, min(85.0, position[1])))
    return math.radians(position[0]), math.asinh(math.tan(latitude))


def _fit(points: list[Position], width: int, height: int) -> Frame:
    placed = [_mercator(point) for point in points]
    left, right = min(x for x, _ in placed), max(x for x, _ in placed)
    bottom, top = min(y for _, y in placed), max(y for _, y in placed)
    # A single point still needs an extent: about a hundred metres.
    spread_x, spread_y = max(right - left, 1.6e-5), max(top - bottom, 1.6e-5)
    scale = min((width - 2 * MARGIN) / spread_x, (height - 2 * MARGIN) / spread_y)
    return Frame(
        left=(left + right) / 2 - width / 2 / scale,
        top=(bottom + top) / 2 + height / 2 / scale,
        scale=scale,
        width=width,
        height=height,
    )


def _feature(feature: Mapping[str, Any], frame: Frame) -> str:
    name = feature["properties"].get("name", "")
    title = f"<title>{escape(name)}</title>" if name else ""
    geometry = feature["geometry"]
    return f"<g>{title}{_shape(geometry['type'], geometry['coordinates'], frame)}</g>"


def _shape(kind: str, coordinates: Any, frame: Frame) -> str:
    if kind.startswith("Multi"):
        return "".join(_shape(kind.removeprefix("Multi"), part, frame) for part in coordinates)
    if kind == "Point":
        x, y = frame.place(coordinates)
        return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="5" fill="#d6336c" stroke="#fff"/>'
    if kind == "Polygon":
        outline = " ".join(f"M{_points(ring, frame)}Z" for ring in coordinates)
        return f'<path d="{outline}" fill="#4dabf7" fill-opacity=".25" stroke="#1c7ed6"/>'
    return f'<polyline points="{_points(coordinates, frame)}" fill="none" stroke="#1c7ed6" stroke-width="3"/>'


def _points(line: list[Position], frame: Frame) -> str:
    step = max(1, math.ceil(len(line) / MAX_DRAWN))
    drawn = [*line[::step], line[-1]]
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in map(frame.place, drawn))


def _scale_bar(frame: Frame, path: Mapping[str, Any]) -> str:
    """A bar of a round length at the path's own latitude."""
    latitude = sum(point[1] for point in positions(path)) / len(positions(path))
    kilometres_per_pixel = 6371 * math.cos(math.radians(latitude)) / frame.scale
    widest = max(kilometres_per_pixel * frame.width / 4, 1e-6)
    length = 10 ** math.floor(math.log10(widest))
    length *= next((factor for factor in (5, 2) if length * factor <= widest), 1)
    pixels = length / kilometres_per_pixel
    text = f"{length:g} km" if length >= 1 else f"{length * 1000:g} m"
    y = frame.height - 12
    return (
        f'<path d="M12 {y}h{pixels:.1f}" stroke="currentColor" stroke-width="3"/>'
        f'<text x="12" y="{y - 6}" font-family="sans-serif" font-size="12" fill="currentColor">{text}</text>'
    )

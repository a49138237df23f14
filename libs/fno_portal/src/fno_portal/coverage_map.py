"""A map of coverage: GeoJSON for a GIS, or one HTML file with a drawing that loads nothing from anywhere."""

from __future__ import annotations

import json
from html import escape
from pathlib import Path
from typing import Any

from fno_portal.errors import FNOValidationError
from fno_portal.models import CoverageAnswer

_COLOURS = {"covered": "#188038", "not_covered": "#c5221f", "unknown": "#80868b"}
_WIDTH, _HEIGHT, _EDGE = 900, 600, 30
Places = list[tuple[str, list[CoverageAnswer]]]


def check_map(file: Path) -> None:
    """See that a map can be written there, before anything is asked for it.

    Raises:
        FNOValidationError: another ending than `.html` or `.geojson`, or no such folder.
    """
    if file.suffix not in {".geojson", ".html"}:
        raise FNOValidationError("a map is .html or .geojson", hint="Choose one of these endings")
    if not file.parent.is_dir():
        raise FNOValidationError(f"there is no folder {file.parent}", hint="Make it, or choose another")


def write_map(file: Path, places: Places) -> None:
    """Write `.geojson` or `.html`. Places whose position nobody told are left out and counted in the HTML.

    Raises:
        FNOValidationError: see check_map.
    """
    check_map(file)
    features = [one for place, answers in places if (one := _feature(place, answers))]
    if file.suffix == ".geojson":
        file.write_text(
            json.dumps({"type": "FeatureCollection", "features": features}, indent=1), encoding="utf-8"
        )
    else:
        file.write_text(_page(features, len(places) - len(features)), encoding="utf-8")


def _feature(place: str, answers: list[CoverageAnswer]) -> dict[str, Any] | None:
    results = [one.result for one in answers if one.result and one.result.latitude is not None]
    if not results:
        return None
    states = {one.fno: one.state.value for one in answers}
    best = next((word for word in ("covered", "unknown") if word in states.values()), "not_covered")
    return {
        "type": "Feature",
        "geometry": {"type": "Point", "coordinates": [results[0].longitude, results[0].latitude]},
        "properties": {"address": place, "state": best, "operators": states},
    }


def _page(features: list[dict[str, Any]], left_out: int) -> str:
    points = [tuple(one["geometry"]["coordinates"]) for one in features]
    dots = "".join(_dot(one, points) for one in features)
    legend = " ".join(
        f'<b style="color:{colour}">● {word.replace("_", " ")}</b>' for word, colour in _COLOURS.items()
    )
    return (
        "<!doctype html><meta charset=utf-8><title>Fibre coverage</title>"
        "<style>body{font:15px sans-serif;margin:2em}svg{border:1px solid #ccc;background:#f8f9fa;max-width:100%}</style>"
        f"<h1>Fibre coverage</h1><p>{legend}</p>"
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" width="{_WIDTH}">{dots}</svg>'
        f"<p>{len(features)} addresses shown, {left_out} without a known position. North is up.</p>"
    )


def _dot(feature: dict[str, Any], points: list[tuple[float, ...]]) -> str:
    longitude, latitude = feature["geometry"]["coordinates"]
    x = _scaled(longitude, [one[0] for one in points], _WIDTH)
    y = _HEIGHT - _scaled(latitude, [one[1] for one in points], _HEIGHT)
    told = feature["properties"]
    lines = [told["address"], *(f"{fno}: {state}" for fno, state in told["operators"].items())]
    colour = _COLOURS[told["state"]]
    return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="7" fill="{colour}"><title>{escape(chr(10).join(lines))}</title></circle>'


def _scaled(value: float, values: list[float], size: int) -> float:
    low, high = min(values), max(values)
    if high == low:
        return size / 2
    return _EDGE + (value - low) / (high - low) * (size - 2 * _EDGE)

"""A stored path as markup for a page."""

from typing import Any

from django.utils.safestring import SafeString, mark_safe

from . import geo


def path_drawing(path: Any) -> SafeString | None:
    """SVG of a `CircuitPath`; None when there is nothing to draw, or what is stored cannot be drawn."""
    if path is None or not path.geojson_data:
        return None
    try:
        # geo escapes every text of the path; nothing else of it reaches the markup.
        return mark_safe(geo.draw_svg(path.geojson_data, label=str(path)))  # noqa: S308
    except geo.PathFileError:
        return None

"""KMZ, KML and GeoJSON: what is read, what is refused, lengths, drawings, exports."""

import io
import json
import zipfile
from typing import Any
from xml.etree import ElementTree as ET

from django.test import SimpleTestCase

from netbox_circuit_manager import geo
from netbox_circuit_manager.utils import (
    PathFileError,
    calculate_path_distance,
    extract_coordinates,
    generate_folium_map,
    parse_kml_data,
    parse_kmz_file,
)

LINE = [[-122.0, 38.0], [-121.0, 38.0]]
KML = """<?xml version="1.0" encoding="UTF-8"?>
<kml xmlns="http://www.opengis.net/kml/2.2" xmlns:gx="http://www.google.com/kml/ext/2.2"><Document><Folder>
<Placemark><name>Span</name><description><![CDATA[<b>aerial</b>]]></description>
<LineString><coordinates>-122,38,0 -121,38,0</coordinates></LineString></Placemark>
<Placemark><name>Ends</name><MultiGeometry><Point><coordinates>-122,38</coordinates></Point>
<Polygon><outerBoundaryIs><LinearRing><coordinates>0,0 1,0 1,1 0,0</coordinates></LinearRing></outerBoundaryIs></Polygon>
</MultiGeometry></Placemark>
<Placemark><gx:Track><gx:coord>1 2 0</gx:coord><gx:coord>3 4 0</gx:coord></gx:Track></Placemark>
</Folder></Document></kml>"""
EVIL = '<img src=x onerror="alert(1)"></title><script>alert(2)</script>'


def kmz(**entries: bytes | str) -> bytes:
    """A KMZ of some entries; `_` in a name stands for a dot."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in entries.items():
            archive.writestr(name.replace("_", "."), content)
    return packed.getvalue()


class ReadTest(SimpleTestCase):
    def test_kml(self) -> None:
        document = parse_kml_data(KML)
        kinds = [feature["geometry"]["type"] for feature in document["features"]]
        self.assertEqual(kinds, ["LineString", "Point", "Polygon", "LineString"])
        self.assertEqual(
            document["features"][0]["properties"], {"name": "Span", "description": "<b>aerial</b>"}
        )
        self.assertEqual(extract_coordinates(document)[:2], [tuple(position) for position in LINE])

    def test_kmz(self) -> None:
        packed = kmz(readme_txt="no", doc_kml=KML)
        self.assertEqual(parse_kmz_file(packed), parse_kml_data(KML))
        opened = io.BytesIO(packed)
        self.assertEqual(parse_kmz_file(opened), parse_kml_data(KML))
        self.assertEqual(geo.read_path_file(packed), parse_kml_data(KML.encode()))

    def test_geojson(self) -> None:
        geometry = {"type": "LineString", "coordinates": LINE}
        for document in (
            geometry,
            {"type": "Feature", "geometry": geometry, "properties": None},
            {"type": "GeometryCollection", "geometries": [geometry]},
        ):
            self.assertEqual(
                extract_coordinates(geo.read_path_file(json.dumps(document).encode())),
                [tuple(each) for each in LINE],
            )

    def test_refused(self) -> None:
        deep = "<a>" * 100_000
        nested: Any = {"type": "Point", "coordinates": [0, 0]}
        for _ in range(100):
            nested = {"type": "GeometryCollection", "geometries": [nested]}
        cases: list[tuple[bytes | str, str]] = [
            (kmz(doc_kml=b"<kml>" + b" " * 60_000_000), "unpacks to more than 50 MB"),
            (kmz(**{f"f{number}_txt": "x" for number in range(1_200)}), "more than 1,000 entries"),
            (kmz(readme_txt="x"), "no KML inside"),
            (b"PK\x03\x04 but no more", "damaged"),
            (b"", "empty"),
            (b"x" * (21 * 1024 * 1024), "larger than 20 MB"),
            (b'<!DOCTYPE kml [<!ENTITY x SYSTEM "file:///etc/passwd">]><kml>&x;</kml>', "entities"),
            (b'<!DOCTYPE kml [<!ENTITY a "ha"><!ENTITY b "&a;&a;">]><kml>&b;</kml>', "entities"),
            (b'<!DOCTYPE kml SYSTEM "http://127.0.0.1:9/x.dtd"><kml/>', "document type"),
            (deep.encode(), "nested too deeply"),
            (b"<kml>", "not well-formed"),
            (b"<kml/>", "no placemark"),
            (
                b"<kml><Placemark><Point><coordinates>north</coordinates></Point></Placemark></kml>",
                "not a coordinate",
            ),
            (
                b"<kml><Placemark><Point><coordinates>500,1</coordinates></Point></Placemark></kml>",
                "not a longitude",
            ),
            (
                b"<kml><Placemark><Point><coordinates>nan,1</coordinates></Point></Placemark></kml>",
                "two numbers",
            ),
            (b"{" * 100_000, "not JSON"),
            (json.dumps(nested).encode(), "nested too deeply"),
            (b'{"type": "LineString", "coordinates": [[1, 2]]}', "it needs 2"),
            (b'{"type": "Sphere"}', "not a type of GeoJSON"),
            (b'{"type": "Point", "coordinates": ["a", "b"]}', "two numbers"),
            (b'{"type": "FeatureCollection", "features": []}', "no feature"),
        ]
        for content, words in cases:
            with self.subTest(words), self.assertRaisesRegex(PathFileError, words):
                geo.read_path_file(content)

    def test_too_many_points(self) -> None:
        with self.assertRaisesRegex(PathFileError, "more than 200,000 points"):
            geo.read_geojson({"type": "LineString", "coordinates": [[0, 0]] * 200_001})


class MeasureTest(SimpleTestCase):
    def test_geodesic_length(self) -> None:
        """One degree of longitude at 38° N is 87.8 km on the ellipsoid; a flat projection says 111."""
        self.assertAlmostEqual(
            calculate_path_distance({"type": "LineString", "coordinates": LINE}), 87.832, places=3
        )
        self.assertAlmostEqual(calculate_path_distance([(0, 0), (0, 1)]), 110.574, places=3)
        self.assertEqual(calculate_path_distance({"type": "Point", "coordinates": [0, 0]}), 0)

    def test_across_the_date_line(self) -> None:
        self.assertLess(calculate_path_distance([(179.9, 0), (-179.9, 0)]), 23)


class DrawTest(SimpleTestCase):
    def document(self, name: str = EVIL) -> dict[str, Any]:
        geometry = {"type": "MultiLineString", "coordinates": [LINE]}
        point = {"type": "Point", "coordinates": [-121.5, 38]}
        ring = {"type": "Polygon", "coordinates": [[[-122, 38], [-121, 38], [-121, 39], [-122, 38]]]}
        features = [
            {"type": "Feature", "properties": {"name": name, "description": name}, "geometry": each}
            for each in (geometry, point, ring)
        ]
        return {"type": "FeatureCollection", "features": features}

    def test_everything_is_escaped(self) -> None:
        page = generate_folium_map(self.document(), 38.0, -121.5, 12)
        self.assertNotIn("<script", page)
        self.assertNotIn("<img", page)
        self.assertIn("&lt;script&gt;", page)
        svg = geo.draw_svg(self.document(), label=EVIL)
        self.assertNotIn("<img", svg)
        ET.fromstring(svg)
        drawn = {name for element in ET.fromstring(svg).iter() for name in element.attrib}
        self.assertFalse({"src", "href", "onerror", "onload"} & drawn)

    def test_colours_follow_the_page(self) -> None:
        svg = geo.draw_svg(self.document())
        self.assertRegex(svg, r'<rect [^>]*style="fill:var\(--tblr-bg-surface-secondary, #\w+\)"')
        self.assertRegex(svg, r'<text [^>]*fill="currentColor"')

    def test_single_point(self) -> None:
        ET.fromstring(geo.draw_svg({"type": "Point", "coordinates": [10, 59]}))

    def test_exports_come_back(self) -> None:
        document = parse_kml_data(KML)
        self.assertEqual(geo.read_kml(geo.to_kml(document, name=EVIL)), document)
        self.assertEqual(geo.read_geojson_text(geo.to_geojson_text(document)), document)
        ET.fromstring(geo.to_kml(self.document("\x01 <b>")))

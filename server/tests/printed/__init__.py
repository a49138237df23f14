"""Printed examples, cut out of their documents and run: the one extractor that every suite uses.

What may be changed in a printed example is in `tolerance`, and nowhere else.
"""

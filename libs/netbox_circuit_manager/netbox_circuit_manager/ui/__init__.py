"""Panels of the plugin's pages."""

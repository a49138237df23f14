"""Operators' web portals, driven with Playwright and Chromium. Needs the extra `fno-portal[portal]`."""

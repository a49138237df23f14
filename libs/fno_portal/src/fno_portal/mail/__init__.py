"""Operators' mails: read over IMAP without touching them, believed only when authentic."""

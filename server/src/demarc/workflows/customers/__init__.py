"""All that hangs on a customer at once: merge of duplicates, export and erasure of personal data."""

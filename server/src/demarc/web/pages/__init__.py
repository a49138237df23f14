"""Pages for people, rendered here: no script is needed, nothing is fetched from elsewhere."""

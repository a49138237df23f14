"""PostgreSQL: a private cluster in the data directory, or somebody else's server behind `DATABASE_URL`."""

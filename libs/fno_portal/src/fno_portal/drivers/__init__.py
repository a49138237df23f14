"""One module per wire format, and the table of drivers by name."""

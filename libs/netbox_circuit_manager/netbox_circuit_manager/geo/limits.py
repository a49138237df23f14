"""How large a path may be. Real ones have some thousand points; these bounds stop files made to exhaust memory."""

MAX_FILE_BYTES = 20 * 1024 * 1024
MAX_KML_BYTES = 50 * 1024 * 1024
MAX_ARCHIVE_ENTRIES = 1_000
MAX_DEPTH = 64
MAX_ELEMENTS = 500_000
MAX_FEATURES = 10_000
MAX_POSITIONS = 200_000
MAX_TEXT = 1_000

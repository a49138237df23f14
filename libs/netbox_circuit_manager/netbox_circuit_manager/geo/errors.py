"""Why a file is no path."""


class PathFileError(ValueError):
    """The file cannot be used; the message says what is wrong with it, for whoever uploaded it."""

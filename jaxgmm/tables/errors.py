"""The error of a file that cannot be read."""


class FileContentError(ValueError):
    """A file cannot be read, and the message says what to do.

    It has a class of its own so that it passes where the errors of readers, which are ValueErrors
    as well, are replaced by one message.
    """

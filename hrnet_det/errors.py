"""Errors in what a user gave: shown as one message, without a traceback, by the commands."""


class InputError(ValueError):
    """A config, path or file that cannot be used; says what was given, allowed, and to do next."""


class MissingInputError(InputError, FileNotFoundError):
    """A file or folder that was named but is not there."""

"""Exceptions for mistakes that a user can mend: the command line prints them as a single line, without a traceback."""


class UserError(Exception):
    """Bad input. The message is one line that names the file, line or key at fault and says how to mend it."""


class ConfigError(UserError):
    """A configuration that does not fit: an unknown key, a wrong type, a kind nobody registered (exit code 2)."""

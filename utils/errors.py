"""What is told to the user in one message, without a traceback."""


class UserError(ValueError):
    """The user's mistake: the message says what is wrong, where, and what to do; scripts print it and exit with 2."""


class RunError(RuntimeError):
    """A run failed, and its message tells more than a traceback would; scripts print it and exit with 1."""

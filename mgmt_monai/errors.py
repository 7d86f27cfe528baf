"""The error every room derives its own from, and how a user meets it: one line, exit code 1."""


class MgmtMonaiError(ValueError):
    """Something the user can mend: the message names what, where, what was expected and what to do.

    The command line shows the message alone, without a traceback, and ends with exit code 1.
    """

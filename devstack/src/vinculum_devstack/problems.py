class StackError(Exception):
    """The stack can't go on; the message says why and what to do."""

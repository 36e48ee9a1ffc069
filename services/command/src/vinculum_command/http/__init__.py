"""The HTTP edge: requests become commands, answers become responses, and nothing is decided."""

"""The rules: what a command must know, what it makes happen, why it is refused. No clock, no ids, no I/O."""

"""Reading the log, for any service: in order, once, without gaps."""

import structlog

pytest_plugins = ["support.servers", "support.paused", "support.log_server", "support.tokens"]

# With its defaults, structlog draws all the locals beside a traceback, which keeps the event loop for seconds.
structlog.configure(processors=[structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)])

pytest_plugins = ["support.servers", "support.log_server", "support.tokens"]

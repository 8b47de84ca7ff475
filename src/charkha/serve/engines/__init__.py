"""Built-in engine plugins. Each module has a name, a Config and build(config, deps)."""

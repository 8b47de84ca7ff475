"""Where everything is put together: settings, wiring, HTTP, worker, supervisor, command line."""

"""The console: server-rendered pages on the public REST API. A page can do nothing that the API cannot."""

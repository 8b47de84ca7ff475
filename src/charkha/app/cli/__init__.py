"""The command line: everything a person can do, each command a thin caller of the client or of the supervisor."""

from charkha.app.cli.main import main

__all__ = ["main"]

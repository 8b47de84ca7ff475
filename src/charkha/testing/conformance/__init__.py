"""Suites that a plugin passes before it is trusted; authors call them from their own tests."""

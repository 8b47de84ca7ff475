"""Fakes and conformance suites, shipped for authors of plugins."""

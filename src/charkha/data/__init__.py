"""Data sets: immutable, content-addressed versions of examples, and where they come from."""

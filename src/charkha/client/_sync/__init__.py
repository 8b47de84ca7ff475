# Written by scripts/unasync.py from the asynchronous module beside it; do not edit.
"""The synchronous client."""

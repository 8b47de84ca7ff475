"""Usage: what keys and workspaces used and what it cost, by day, exactly as the inference log has it."""

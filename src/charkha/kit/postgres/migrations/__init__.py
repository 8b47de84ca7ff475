"""Alembic's folder: its environment, the revisions in `versions/`, and in `initial/` what the first tables look like."""

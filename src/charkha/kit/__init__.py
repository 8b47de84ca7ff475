"""The tools that stations are built with: PostgreSQL, events, jobs, blobs, spool, egress, plugins. Knows no station."""

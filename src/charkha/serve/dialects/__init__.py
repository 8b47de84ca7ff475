"""Wire formats of clients, one per file."""

"""Who may do what, and who did: organisations, workspaces, keys, permissions, audit."""

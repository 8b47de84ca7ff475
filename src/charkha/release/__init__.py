"""The better one takes over: registry, rollouts, rollback."""

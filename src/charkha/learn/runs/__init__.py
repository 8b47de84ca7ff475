"""Training runs: asked for, carried out in processes of their own, watched, cancelled, resumed."""

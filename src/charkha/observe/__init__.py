"""What happened: the inference log."""

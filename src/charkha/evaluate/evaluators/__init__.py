"""Evaluator programs, each in its own process where it needs a model in memory."""

"""Recipes: each a readable program in its own process."""

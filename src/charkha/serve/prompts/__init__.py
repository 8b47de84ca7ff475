"""Prompt templates: named, versioned, tested and compared; an endpoint's variant says which version it speaks with."""

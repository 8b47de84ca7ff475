"""Prices: what a model's tokens cost, as data with the time in which it is so."""

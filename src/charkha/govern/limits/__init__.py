"""Limits that hold: what a key, a workspace or an organisation may use in a window, and who has leased how much of it."""

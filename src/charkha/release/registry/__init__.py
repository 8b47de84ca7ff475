"""The registry: every model and adapter that serves, by name and number, with the aliases that point at them."""

"""Training policies: when an endpoint's lessons become a candidate by themselves."""

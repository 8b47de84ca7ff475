"""From what happened to a candidate: feedback, training policies, runs and recipes."""

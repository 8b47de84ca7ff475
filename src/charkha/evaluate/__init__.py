"""Is the candidate better? Suites, evaluators, paired statistics, scorecards."""

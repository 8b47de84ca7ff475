"""The words that every station shares: ids, errors, events, messages, the clock. Standard library and msgspec only."""

"""How one variant reaches its engines: which of its ways answers, in which order, and what happens when one fails."""

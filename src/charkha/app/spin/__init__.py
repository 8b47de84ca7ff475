"""The demonstration: one turn of the wheel on real data, driven through the public API as an application would."""

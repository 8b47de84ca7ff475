"""Measurements that anybody can repeat: each module writes one flat JSON file in `results/`."""

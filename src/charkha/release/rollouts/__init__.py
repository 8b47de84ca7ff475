"""Rollouts: how a candidate takes traffic step by step, on evidence, and how it loses it again."""

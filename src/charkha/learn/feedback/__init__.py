"""Feedback: what people and programs say of answers, and what that teaches."""

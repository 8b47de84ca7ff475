"""Answers that are given again: to equal requests, to requests that ask alike, and to those that ask at the same time."""

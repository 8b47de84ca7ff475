"""Charkha turns the traffic of an AI application into better models, safely, on your own machines."""

__version__ = "0.1.0"

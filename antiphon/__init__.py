"""Antiphon: sequence-to-sequence models built on recurrent networks."""

__version__ = "0.1.0"

"""Measurements of Antiphon, of its peers and of the machine; no part of what is installed."""

"""One module a system: each runs one job in a process of its own, under that system's own Python."""

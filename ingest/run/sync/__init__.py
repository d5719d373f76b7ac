"""Keeping the vectors of indices fresh for as long as the process runs."""

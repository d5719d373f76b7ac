"""Runs over the documents of an index."""

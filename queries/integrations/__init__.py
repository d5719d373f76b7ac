"""Retrievers for other frameworks."""

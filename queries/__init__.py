"""Hybrid search: keyword and vector legs, their fusion, and showing the result."""

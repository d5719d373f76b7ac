"""Encoders: exporting, loading and running them."""

"""Decoding pictures of unknown origin, format by format."""

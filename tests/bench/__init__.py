"""Benchmarks: ratios against a named peer, both measured in one run. ``make bench`` runs them all."""

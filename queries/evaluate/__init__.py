"""Measuring searches on judged queries, and tuning them."""

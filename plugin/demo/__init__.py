"""The demo: a real catalogue of pictures, a small model trained for it, and a guided first search."""

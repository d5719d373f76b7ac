"""A hybrid search: its legs, and what is asked of the server."""

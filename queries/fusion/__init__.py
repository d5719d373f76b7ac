"""Making one ranking of the legs' scores."""

"""From documents to vectors: exporting and running encoders, the index contract, and the write path."""

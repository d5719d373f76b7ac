"""The contract with the index: what its mapping and its documents say of their vectors."""

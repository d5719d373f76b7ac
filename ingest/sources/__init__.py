"""Getting the pictures that documents refer to."""

"""The click commands, a module each."""

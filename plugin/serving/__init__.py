"""The search page and its JSON API: ``crosslens serve``. Needs the extra "serve"."""

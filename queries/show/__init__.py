"""Results for people: explanations, tables, pages."""

"""Features of the boosted model, computed from opens."""

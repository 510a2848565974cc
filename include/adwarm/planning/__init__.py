"""What to warm, when, why, and within which budget of upstream calls."""

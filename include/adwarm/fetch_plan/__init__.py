"""Which requests do keys take? Pure planning over partition states that are handed in as values."""

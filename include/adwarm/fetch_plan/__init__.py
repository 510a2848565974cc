"""Which requests do report keys take? Pure functions over partition states that are passed in as values."""

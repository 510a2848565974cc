"""What every package may use: errors, clocks, local time, arrays, circuits, redaction. It imports no other package."""

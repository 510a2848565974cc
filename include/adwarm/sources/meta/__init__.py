"""Meta's Marketing API as a source: `source.MetaSource`. The facebook-business SDK serves as transport only."""

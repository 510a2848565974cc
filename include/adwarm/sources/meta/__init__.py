"""Meta's Marketing API as a source: `source.MetaSource`."""

"""Meta's Marketing API as a source: `source.MetaSource`, over facebook-business as transport only."""

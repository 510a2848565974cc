"""Sources of ad insights: the `InsightsSource` protocol, and its implementations for Meta, Parquet and SQL tables.

Import from the modules: `protocol` is light, the sources are not. `factory` builds the source that the settings name.
"""

"""Where insights come from: the `InsightsSource` protocol, and Meta, Parquet files and SQL tables behind it.

Import from the modules: `protocol` is light, the sources are not. `build` makes the one that the settings name.
"""

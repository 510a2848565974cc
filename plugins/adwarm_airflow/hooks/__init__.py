"""The hook of the connection type `adwarm_meta`."""

"""One batch against an upstream that misbehaves in 51 ways, one way per account, with healthy accounts in between."""

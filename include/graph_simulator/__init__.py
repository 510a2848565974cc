"""A Graph API server that behaves like Meta's where adwarm touches it, with seeded ads whose truth is known.

It stands apart from the rest of the product and speaks to it over HTTP only: the demo, the tests and anybody's
staging use it in place of the platform. Import `SimulatorConfig` from `config`, `SimulatorServer` from `server`.
"""

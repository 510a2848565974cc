"""A discrete-event simulation: the real state machines of back-pressure against the simulator's quota rules.

Time is virtual, randomness comes from one seed, and every event enters a digest: equal seeds replay equal hours.
"""

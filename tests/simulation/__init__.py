"""A discrete-event simulation: the real state machines of back-pressure against the simulator's quota law.

Time is virtual, chance comes from one seed, and every event goes into a digest: the same seed replays the same hour.
"""

"""The models that turn features into calibrated probabilities."""

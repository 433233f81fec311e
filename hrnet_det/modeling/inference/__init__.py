"""The form of a trained model that computes the same in less time."""

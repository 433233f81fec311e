"""HRNet, its representations V1 and V2, and the feature pyramid of V2p."""

"""Videos: their frames read, detected, and written again with their objects (by PyAV)."""

"""RoI heads of cascades as they were published."""

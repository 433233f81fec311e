"""Programs for those who develop hrnet_det; not in the wheel."""

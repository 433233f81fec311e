"""Evaluation: COCO, panoptic quality, and what each dataset wants."""

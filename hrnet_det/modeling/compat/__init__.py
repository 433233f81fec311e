"""What other code bases compute differently from Detectron2."""

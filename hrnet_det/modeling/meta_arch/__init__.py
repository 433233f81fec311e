"""Meta-architectures that Detectron2 lacks."""

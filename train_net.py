#!/usr/bin/env python3
"""Train or evaluate an HRNet detector: python train_net.py --config-file NAME (see --help)."""

import sys

try:
    from hrnet_det.engine.train import main
except ImportError as error:  # without Detectron2 the message says how to get it
    sys.exit(f"error: {error}")

if __name__ == "__main__":
    main()

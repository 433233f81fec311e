#!/usr/bin/env python3
"""Train or evaluate an HRNet detector: python train_net.py --config-file NAME (see --help)."""

from hrnet_det.engine.train import main

if __name__ == "__main__":
    main()

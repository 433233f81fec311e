#!/usr/bin/env python3
"""Train or evaluate an HRNet detector: python train_net.py --config-file NAME (see --help)."""

import sys

from hrnet_det.cli import main

if __name__ == "__main__":
    sys.exit(main(["train", *sys.argv[1:]]))

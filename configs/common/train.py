"""How a training runs: options of hrnet_det's trainer."""

train = {
    "output_dir": "./output",
    "init_checkpoint": "",  # weights to start from, as MODEL.WEIGHTS of the YAML configs
    "max_iter": 90000,
    "amp": {"enabled": False},  # mixed precision; bfloat16 on the CPU
    "gradient_accumulation_steps": 1,  # parts that a step's batch goes through the model in
    "clip_gradient_norm": 35.0,  # of all gradients together; 0 for none
    "checkpoint_period": 5000,  # iterations
    "checkpoints_kept": 0,  # the last ones of these, beside the best and the final one; 0: all
    "eval_period": 7330,  # iterations: every epoch of COCO
    "patience": 0,  # evaluations without a better metric after which training ends; 0: never
    "ema_decay": 0.0,  # of the moving average of the weights, such as 0.999; 0 for none
    "device": "cuda",
    "seed": -1,  # negative: a random one
    # Your own COCO jsons and image folders; when set, they take the place of the datasets' names.
    # folder (--data): a folder with both, whose layout tells which is which.
    "custom": {
        "folder": "",
        "train_json": "",
        "train_images": "",
        "test_json": "",
        "test_images": "",
    },
    # The form that evaluation runs in: optimised, and what it computes in and by.
    "test": {
        "optimized": True,
        "dtype": "float32",
        "compile": False,
        "engine": "torch",  # or on a CPU "openvino", in less time
        "loss": False,  # also the losses on the test sets, at each evaluation
        "keypoint_oks_sigmas": [],  # one for each keypoint; [] for COCO's
    },
}

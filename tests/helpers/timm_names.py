"""What timm calls the variants, and what its files have beside the body."""

TIMM = {
    "w18_small_v1": "hrnet_w18_small",
    "w18_small_v2": "hrnet_w18_small_v2",
    **{name: f"hrnet_{name}" for name in ("w18", "w30", "w32", "w40", "w44", "w48", "w64")},
}
HEAD = ("incre_modules", "downsamp_modules", "final_layer", "classifier")

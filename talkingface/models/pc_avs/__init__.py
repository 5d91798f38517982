"""PC-AVS: pose-controllable talking faces (CVPR 2021)."""

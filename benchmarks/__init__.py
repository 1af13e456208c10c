"""Every claim of speed, accuracy or calibration is a command in this folder."""

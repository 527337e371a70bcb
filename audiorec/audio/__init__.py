"""Audio: reading, resampling, log-mel features, augmentation."""

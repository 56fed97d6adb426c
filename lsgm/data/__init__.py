"""From files to batches of levels: sources, transforms, the Grain pipeline."""

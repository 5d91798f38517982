"""From files to batches: media, faces, crops, datasets and data modules."""

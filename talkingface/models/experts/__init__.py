"""Networks trained on their own and then used by methods."""

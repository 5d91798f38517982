"""Networks that two methods or more are built from."""

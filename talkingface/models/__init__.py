"""Methods, the experts they rest on and the networks they share."""

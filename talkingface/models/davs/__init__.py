"""DAVS: talking faces by adversarially disentangled audio-visual representation (AAAI 2019)."""

"""Wav2Lip as a method outside the package: see README.md."""

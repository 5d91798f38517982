"""Lip-sync experts: SyncNet v2, and the cosine expert of Wav2Lip form with its training."""

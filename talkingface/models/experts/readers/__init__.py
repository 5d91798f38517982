"""Readers of drawn faces: landmarks and motion in one, identity in another."""

from talkingface.models.experts.readers.face import MOTIONS, FaceReader, Reading
from talkingface.models.experts.readers.identity import IdentityReader

__all__ = ["MOTIONS", "FaceReader", "IdentityReader", "Reading"]

"""Losses: pure functions of tensors, averaged; weights are applied by the caller."""

from talkingface.losses.adversarial import (
    discriminator_adversarial_loss,
    feature_matching_loss,
    generator_adversarial_loss,
)
from talkingface.losses.classification import classification_loss
from talkingface.losses.contrastive import (
    cross_modal_l1,
    info_nce,
    inverse_distance_contrastive,
    margin_contrastive,
    retrieval_accuracy,
    symmetric_info_nce,
)
from talkingface.losses.disentanglement import (
    domain_classification_loss,
    domain_confusion_loss,
    orthogonality_loss,
    sum_log_softmax_loss,
    uniform_softmax_loss,
)
from talkingface.losses.identity import IdentityLoss, identity_loss
from talkingface.losses.perceptual import (
    LPIPSLoss,
    feature_distance,
    perceptual_loss,
    vgg_face_loss,
)
from talkingface.losses.reconstruction import box_mask, landmark_weights, masked_l1
from talkingface.losses.regularisation import path_lengths, r1_penalty
from talkingface.losses.sync import cosine_bce_loss, cosine_sync_loss, shift_info_nce
from talkingface.losses.whitening import Whitening

__all__ = [
    "IdentityLoss",
    "LPIPSLoss",
    "Whitening",
    "box_mask",
    "classification_loss",
    "cosine_bce_loss",
    "cosine_sync_loss",
    "cross_modal_l1",
    "discriminator_adversarial_loss",
    "domain_classification_loss",
    "domain_confusion_loss",
    "feature_distance",
    "feature_matching_loss",
    "generator_adversarial_loss",
    "identity_loss",
    "info_nce",
    "inverse_distance_contrastive",
    "landmark_weights",
    "margin_contrastive",
    "masked_l1",
    "orthogonality_loss",
    "path_lengths",
    "perceptual_loss",
    "r1_penalty",
    "retrieval_accuracy",
    "shift_info_nce",
    "sum_log_softmax_loss",
    "symmetric_info_nce",
    "uniform_softmax_loss",
    "vgg_face_loss",
]

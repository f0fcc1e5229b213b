"""The head of a network: its last layers, which turn features into the task's logits."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

#: How the tensors of a head begin: classifiers', the from-scratch networks', segmentation_models_pytorch's two.
HEADS = ("head.", "net.head.", "net.segmentation_head.", "net.classification_head.")


def load_body(model: nn.Module, weights: Mapping[str, Tensor]) -> None:
    """Put weights of the same network into `model`, all but those of its head, which stays as it is.

    Raises:
        ValueError: the weights are those of another network.
    """
    own = set(model.state_dict())
    if set(weights) != own or not any(name.startswith(HEADS) for name in own):
        raise ValueError("these are the weights of another network: start from a checkpoint of the same configuration")
    model.load_state_dict({k: v for k, v in weights.items() if not k.startswith(HEADS)}, strict=False)

"""A network of a shape: the one place that knows which class reads by which settings."""

from typing import assert_never

from session_model.networks.attention import SessionAttention
from session_model.networks.cosine_network import CosineNetwork
from session_model.networks.gru import SessionGru
from session_model.networks.settings import AttentionSettings, GruSettings, NetworkSettings


def build_network(n_items: int, settings: NetworkSettings, *, seed: int) -> CosineNetwork:
    """Make an untrained network; the seed decides its first weights."""
    match settings:
        case GruSettings():
            return SessionGru(n_items, settings, seed=seed)
        case AttentionSettings():
            return SessionAttention(n_items, settings, seed=seed)
        case _:
            assert_never(settings)

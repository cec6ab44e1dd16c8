"""What training, model server and worker agree on about a model: its name, and where its files lie."""

from typing import Final

DEFAULT_MODEL_NAME: Final = "session_gru"
"""Name under which a model server serves it, and of the folder whose children are its versions."""
SIGNATURE: Final = "recommend"
DEFAULT_SIGNATURE: Final = "serving_default"
"""What TF Serving runs where a request names no signature; in our models the same graph."""
ASSETS: Final = "assets.extra"
"""Folder of a version that TF Serving leaves alone, but for the warm-up requests in it."""
WARMUP_PATH: Final = f"{ASSETS}/tf_serving_warmup_requests"

"""The worker as `faust -A agents.app worker` finds it; settings come from INSESSION_CONFIG and the environment."""

from agents.settings import load_settings
from agents.worker.root import build_worker

app = build_worker(load_settings())

"""Options that `train` and `tune` share: what the one chose by, the other is to train by."""

import click

from schemas.events import ITEM_EVENT_TYPES

seed_option = click.option(
    "--seed", type=click.IntRange(0, 2**31 - 4), default=1, show_default=True, help="Of all randomness."
)
input_event_option = click.option(
    "--input-event",
    "input_events",
    type=click.Choice(sorted(ITEM_EVENT_TYPES)),
    multiple=True,
    default=("view",),
    show_default=True,
    help="Event type whose items the model reads and predicts; repeat for more.",
)

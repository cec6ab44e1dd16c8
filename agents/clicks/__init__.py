"""The way of a click: the actor that takes it in, and all that is decided on it."""

"""How settings are found, read and explained; what there is to set is `agents.settings`."""

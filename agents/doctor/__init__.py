"""`insession doctor`: one finding for each thing that must be right, with what to do where it is not."""

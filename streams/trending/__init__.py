"""What is viewed where, and what rises: a pure fold over what `recommendations` count, exact by the input's offset."""

"""What rankings and probabilities are worth."""

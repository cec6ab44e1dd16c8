"""What training learns besides networks."""

"""What a click does to a shopper's session: pure rules."""

"""What tests of several rooms make: a test names only what it is about."""

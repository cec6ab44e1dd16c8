"""What a release is held against."""

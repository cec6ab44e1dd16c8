"""The daily loop: from a day of clicks to a release that serves, in steps that are done when their result is there."""

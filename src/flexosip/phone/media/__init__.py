"""A call's sound as users see it: playing, keys, streams."""

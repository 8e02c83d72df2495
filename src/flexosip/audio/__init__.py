"""PCM in, PCM out: files, tones, rates, levels. PCM is int16 little-endian unless said otherwise."""

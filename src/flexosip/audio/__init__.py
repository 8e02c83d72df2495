"""PCM in, PCM out. PCM is int16 little-endian unless said otherwise; nothing here knows RTP, sockets or clocks.

sources     Pcm and Tone: what can be played besides files
files, wav  open any sound file; WAV is read and written by ourselves
tones       call progress by country, special information, DTMF pairs
resample    between any two rates, streaming
pcm         mix, gain, stereo, mono
companding  A-law and µ-law
levels      level, frequencies, gaps: hearing by numbers
"""

"""Brings downloaded data sets, in whichever layout they came, into the one tree that the built-in cards read."""

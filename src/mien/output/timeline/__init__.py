"""Emotions over time for each person of a video: timelines as HTML and PNG, and the numbers of `mien report`."""

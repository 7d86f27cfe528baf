"""One series examined: what it is, what is wrong with it; and many of them side by side."""

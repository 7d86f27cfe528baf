"""Raw clinical series made comparable to the training data: one space, brain alone, and pictures of each step."""

"""A comparison: many trainings compared on the same patients, its verdict, and the page that reports it."""

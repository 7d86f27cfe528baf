"""What the whole cohort tells: checks across patients, tests against the label, report.json and the page."""

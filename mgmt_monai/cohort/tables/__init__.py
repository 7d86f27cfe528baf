"""What people write down about patients: labels, exclusions, accepted findings, columns, other names."""

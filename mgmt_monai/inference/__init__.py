"""A trained model on one study: its series found and checked, predicted or refused, explained."""

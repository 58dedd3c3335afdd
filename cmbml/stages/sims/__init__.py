"""The stages that build a dataset."""

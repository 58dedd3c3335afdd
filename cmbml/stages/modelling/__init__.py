"""The stages that clean observations."""

"""The stages that compare methods. None of them knows a method by name."""

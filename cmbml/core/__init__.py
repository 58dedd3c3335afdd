"""The framework: assets, executors, the graph they form, and what runs them. It knows no science."""

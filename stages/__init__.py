"""The executors: each reads assets, calls science, and writes assets."""

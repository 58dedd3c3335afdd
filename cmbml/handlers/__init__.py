"""File formats. Each handler reads and writes one kind of file, and knows no stage and no path rule."""

"""How well a map of the CMB was found: footings, scores per pixel and per multipole, floors, summaries. No files."""

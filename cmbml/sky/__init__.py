"""Pure science that every other package stands on: maps, harmonics, beams, masks, spectra. No files, no config."""

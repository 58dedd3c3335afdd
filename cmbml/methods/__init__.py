"""Methods that clean the sky, behind one contract."""

"""What pages are made of that stands in the code: settings, interfaces, pictures."""

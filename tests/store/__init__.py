"""Names, days, files, notes, spools and the append."""

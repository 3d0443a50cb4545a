"""4: lines become records again, whatever happened to the file."""

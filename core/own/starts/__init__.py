"""With what does a part of one's own begin? A file for each family, which `ablate init part` copies and which runs."""

"""Programs that measure a claim too slow for a test; each writes its figures beside itself."""

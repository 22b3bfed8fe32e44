"""What do the verbs do? One file per group of verbs."""

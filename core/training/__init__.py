"""How is one network trained? Session, loop, evaluation, checkpoints."""

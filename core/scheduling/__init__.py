"""How do many runs get done? Scheduler, executors, workers."""

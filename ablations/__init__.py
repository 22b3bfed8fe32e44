"""Says which RunConfigs form a controlled comparison, and gets them all run."""

"""What is a user's own part? The files that it is made of, the arguments that it takes, and how it is loaded."""

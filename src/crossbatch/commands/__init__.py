"""The commands: one function a file, its signature its options. Heavy packages are imported when a command runs."""
